"""The model that answers: Microsoft Foundry's, OpenAI's or one that speaks like it, else simple rules."""

from __future__ import annotations

import logging
import os
from typing import Any

from agent_framework import BaseChatClient

import offline
from perdure.testing import ScriptedChatClient


def chat_client() -> BaseChatClient[Any]:
    """Give the chat client that the environment has the variables of; without any, the rules of offline.py answer."""
    setting = os.environ.get
    if endpoint := setting("FOUNDRY_PROJECT_ENDPOINT"):
        from agent_framework.foundry import FoundryChatClient  # pyright: ignore[reportAttributeAccessIssue]
        from azure.identity.aio import AzureCliCredential, ManagedIdentityCredential

        # As whoever is signed in with `az login`; deployed, as the app itself.
        credential = ManagedIdentityCredential() if setting("IDENTITY_ENDPOINT") else AzureCliCredential()
        model = setting("FOUNDRY_MODEL")
        client: BaseChatClient[Any] = FoundryChatClient(project_endpoint=endpoint, model=model, credential=credential)
        return client
    if setting("OPENAI_API_KEY"):
        from agent_framework.openai import OpenAIChatCompletionClient

        base_url = setting("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        return OpenAIChatCompletionClient(model=setting("OPENAI_MODEL"), base_url=base_url)
    logging.getLogger("models").warning("No model is asked: simple rules answer. The README says how to have one.")
    return ScriptedChatClient(offline.answer)
