"""Getting an app to Azure: the files it needs there, and what would fail once it is published."""
