from __future__ import annotations

import importlib
import json
import logging
import pathlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from perdure import AgentFunctionApp, testing
from perdure.hosts.local import loading

FOLDER = pathlib.Path(__file__).parents[2] / "samples" / "email_triage"
SPAM = "URGENT! You have won $1,000,000! Click here to claim your prize."
HAM = "Hi! A reminder that the team meeting is on Monday at 10. Could you bring the figures?"
VARIABLES = ("CHAT_CLIENT", "FOUNDRY_PROJECT_ENDPOINT", "FOUNDRY_MODEL", "OPENAI_API_KEY", "OPENAI_MODEL")


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample's folder as a host loads it: first on the path, its modules new and forgotten afterwards."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


@pytest.fixture
def workflow(sample: None) -> ModuleType:
    return importlib.import_module("workflow")


@pytest.fixture
def chat(sample: None) -> ModuleType:
    return importlib.import_module("chat")


@pytest.mark.parametrize(
    ("mail", "outcome"),
    [
        (SPAM, "Email marked as spam: a prize is promised, it presses for haste"),
        (HAM, "Email sent: Hello, thank you for writing about the meeting."),
        ("URGENT! You have won $1,000,000!", "Email marked as spam: "),
        ("Dear team, the invoice is attached. It is urgent.", "Email sent: "),
    ],
)
async def test_offline_rules_tell_spam_from_mail(workflow: ModuleType, mail: str, outcome: str) -> None:
    (output,) = (await workflow.build_workflow().run(mail)).get_outputs()
    assert output.startswith(outcome)


async def test_offline_client_streams_the_same(workflow: ModuleType) -> None:
    events = workflow.build_workflow().run(HAM, stream=True)
    outputs = [event.data async for event in events if event.type == "output"]
    assert len(outputs) == 1 and outputs[0].startswith("Email sent: ")


async def test_spam_is_marked_with_the_reason_of_the_detector(workflow: ModuleType) -> None:
    client = testing.ScriptedChatClient([workflow.DetectionResultAgent(is_spam=True, reason="a scam")])
    outputs = (await workflow.build_workflow(client).run(SPAM)).get_outputs()
    assert outputs == ["Email marked as spam: a scam"]
    (asked,) = client.requests
    assert asked.options["response_format"] is workflow.DetectionResultAgent


async def test_mail_is_answered_from_what_shared_state_kept(workflow: ModuleType) -> None:
    client = testing.ScriptedChatClient(
        [workflow.DetectionResultAgent(is_spam=False, reason=""), workflow.EmailResponse(response="See you Monday.")]
    )
    outputs = (await workflow.build_workflow(client).run(HAM)).get_outputs()
    assert outputs == ["Email sent: See you Monday."]
    assert [message.text for message in client.requests[1].messages] == [HAM]


def test_without_variables_the_client_is_offline(chat: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(chat.client_from_environment({}), chat.OfflineChatClient)
    assert "OfflineChatClient" in caplog.text


def test_an_openai_key_chooses_chat_completions(chat: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    from agent_framework.openai import OpenAIChatCompletionClient

    caplog.set_level(logging.INFO, "email_triage")
    client = chat.client_from_environment(
        {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "llama3.2", "OPENAI_BASE_URL": "http://localhost:11434/v1"}
    )
    assert isinstance(client, OpenAIChatCompletionClient)
    assert client.model == "llama3.2"
    assert "http://localhost:11434/v1" in caplog.text


def test_an_empty_base_url_is_none(chat: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    client = chat.client_from_environment({"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": ""})
    assert str(client.client.base_url).startswith(chat.OPENAI_URL)


async def test_an_openai_client_is_understood(workflow: ModuleType, chat: ModuleType) -> None:
    answers = ['{"is_spam": false, "reason": ""}', '{"response": "See you Monday."}']
    with testing.ModelServer(answers) as server:
        client = chat.client_from_environment(
            {"OPENAI_API_KEY": "none", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": server.base_url}
        )
        async with client.client:
            outputs = (await workflow.build_workflow(client).run(HAM)).get_outputs()
    assert outputs == ["Email sent: See you Monday."]


@pytest.mark.parametrize(
    "environment",
    [
        {"CHAT_CLIENT": "offline", "OPENAI_API_KEY": "k"},
        {"CHAT_CLIENT": "OFFLINE", "FOUNDRY_PROJECT_ENDPOINT": "https://x", "FOUNDRY_MODEL": "m"},
        {"FOUNDRY_PROJECT_ENDPOINT": "https://x"},
    ],
)
def test_offline_can_be_forced_and_half_of_foundry_is_none(chat: ModuleType, environment: dict[str, str]) -> None:
    assert isinstance(chat.client_from_environment(environment), chat.OfflineChatClient)


def test_a_client_unknown_is_refused_with_those_there_are(chat: ModuleType) -> None:
    with pytest.raises(ValueError, match="foundry, openai, offline"):
        chat.client_from_environment({"CHAT_CLIENT": "gpt"})


@pytest.mark.parametrize(
    ("package", "extra", "environment"),
    [
        ("agent_framework_openai", "openai", {"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}),
        ("agent_framework_foundry", "foundry", {"FOUNDRY_PROJECT_ENDPOINT": "https://x", "FOUNDRY_MODEL": "m"}),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    chat: ModuleType, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, environment: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'{package}, which is not installed: pip install "perdure\[{extra}\]"'):
        chat.client_from_environment(environment)


def settings() -> dict[str, Any]:
    values: dict[str, Any] = json.loads((FOLDER / "local.settings.json.template").read_text())["Values"]
    return values


def test_the_settings_template_names_every_variable(sample: None) -> None:
    assert set(VARIABLES) <= set(settings())
    assert settings()["TASKHUB_NAME"]
    assert json.loads((FOLDER / "host.json").read_text())["version"] == "2.0"


@pytest.mark.parametrize(("mail", "start"), [(SPAM, "Email marked as spam: "), (HAM, "Email sent: ")])
async def test_hosted_it_gives_what_it_gives_in_process(sample: None, mail: str, start: str) -> None:
    app = loading.load(FOLDER / "function_app.py")
    assert isinstance(app, AgentFunctionApp)
    async with testing.LocalHost(app) as host:
        hosted = await host.run("email_triage", mail)
    in_process = await importlib.import_module("workflow").build_workflow().run(mail)
    assert hosted == in_process.get_outputs()
    assert hosted[0].startswith(start)
