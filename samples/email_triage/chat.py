"""The chat client, chosen from the environment; see README.md for the variables."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatOptions,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    FunctionInvocationLayer,
    Message,
    ResponseStream,
)
from agent_framework.observability import ChatTelemetryLayer

logger = logging.getLogger("email_triage")

OPENAI_URL = "https://api.openai.com/v1"
CLIENTS = ("foundry", "openai", "offline")


def client_from_environment(environment: Mapping[str, str] = os.environ) -> BaseChatClient[Any]:
    """Give the chat client that the environment names, and log which one it is.

    ``CHAT_CLIENT`` (foundry, openai or offline) decides. Without it: Foundry if ``FOUNDRY_PROJECT_ENDPOINT`` and
    ``FOUNDRY_MODEL`` are set, else OpenAI or what speaks like it if ``OPENAI_API_KEY`` is, else the offline client.

    Raises:
        ValueError: If ``CHAT_CLIENT`` names no client.
        ImportError: If the package that the client needs is not installed.
    """
    choice = environment.get("CHAT_CLIENT", "").lower() or _choose(environment)
    if choice == "foundry":
        return _foundry(environment)
    if choice == "openai":
        return _openai(environment)
    if choice == "offline":
        logger.warning("Chat client: OfflineChatClient. No model is asked; simple rules classify and draft.")
        return OfflineChatClient()
    raise ValueError(f"CHAT_CLIENT={choice!r} is no client of this sample; it is one of {', '.join(CLIENTS)}.")


def _choose(environment: Mapping[str, str]) -> str:
    if environment.get("FOUNDRY_PROJECT_ENDPOINT") and environment.get("FOUNDRY_MODEL"):
        return "foundry"
    return "openai" if environment.get("OPENAI_API_KEY") else "offline"


def _foundry(environment: Mapping[str, str]) -> BaseChatClient[Any]:
    foundry = _import("agent_framework.foundry", "agent_framework_foundry", "foundry")
    identity = _import("azure.identity.aio", "azure.identity", "foundry")
    deployed = "IDENTITY_ENDPOINT" in environment or "WEBSITE_INSTANCE_ID" in environment
    credential = identity.ManagedIdentityCredential() if deployed else identity.AzureCliCredential()
    logger.info("Chat client: FoundryChatClient with %s.", type(credential).__name__)
    client: BaseChatClient[Any] = foundry.FoundryChatClient(
        project_endpoint=environment["FOUNDRY_PROJECT_ENDPOINT"],
        model=environment["FOUNDRY_MODEL"],
        credential=credential,
    )
    return client


def _openai(environment: Mapping[str, str]) -> BaseChatClient[Any]:
    # Chat completions, not responses: it is what Ollama and other servers that speak like OpenAI all have.
    openai = _import("agent_framework.openai", "agent_framework_openai", "openai")
    base_url = environment.get("OPENAI_BASE_URL") or OPENAI_URL
    client: BaseChatClient[Any] = openai.OpenAIChatCompletionClient(
        model=environment.get("OPENAI_CHAT_COMPLETION_MODEL") or environment.get("OPENAI_MODEL"),
        api_key=environment.get("OPENAI_API_KEY"),
        base_url=base_url,
    )
    logger.info("Chat client: OpenAIChatCompletionClient at %s.", base_url)
    return client


def _import(module: str, needed: str, extra: str) -> Any:
    try:
        importlib.import_module(needed)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The chat client that the environment asks for needs {error.name}, which is not installed: "
            f'pip install "perdure[{extra}]", or set CHAT_CLIENT=offline.'
        ) from error
    return importlib.import_module(module)


SPAM_SIGNS = {
    "a prize is promised": r"\b(you('ve| have)? won|winner|prize|lottery|jackpot)\b",
    "it presses for haste": r"\b(urgent|act now|immediately|last chance|limited time)\b",
    "it asks to click or to pay": r"\b(click (here|below|this)|claim (it|your|now)|wire transfer|gift cards?)\b",
    "it names a sum of money": r"[$\u20ac\u00a3]\s?\d{1,3}([.,]\d{3})+|\bmillion (dollars|euros?|pounds)\b",
    "it asks for secrets": r"\b(your password|bank details|credit card number|social security)\b",
}
"""What makes a mail look like spam, in words and as a pattern. Two signs are enough."""


class OfflineChatClient(
    FunctionInvocationLayer[ChatOptions[Any]],
    ChatMiddlewareLayer[ChatOptions[Any]],
    ChatTelemetryLayer[ChatOptions[Any]],
    BaseChatClient[ChatOptions[Any]],
):
    """A stand-in for a model: classifies and drafts by rule, needs no key and no network.

    It looks at the fields of ``response_format``: ``is_spam`` asks for a verdict, ``response`` for a draft.
    """

    OTEL_PROVIDER_NAME = "offline"

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        response_format = options.get("response_format")
        text = _answer(_last_user_text(messages), response_format)
        if stream:
            return self._build_response_stream(_one_update(text), response_format=response_format)
        return _respond(text, response_format)


async def _respond(text: str, response_format: Any) -> ChatResponse[Any]:
    return ChatResponse(
        messages=Message("assistant", [text]), model="offline", finish_reason="stop", response_format=response_format
    )


async def _one_update(text: str) -> AsyncIterator[ChatResponseUpdate]:
    yield ChatResponseUpdate(
        contents=[Content.from_text(text)], role="assistant", model="offline", finish_reason="stop"
    )


def _last_user_text(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def _answer(mail: str, response_format: Any) -> str:
    fields = _fields(response_format)
    if "is_spam" in fields:
        signs = [sign for sign, pattern in SPAM_SIGNS.items() if re.search(pattern, mail, re.IGNORECASE)]
        spam = len(signs) > 1
        reason = ", ".join(signs) if spam else "it shows no sign of spam"
        return json.dumps({"is_spam": spam, "reason": reason})
    draft = _draft(mail)
    return json.dumps({"response": draft}) if "response" in fields else draft


def _fields(response_format: Any) -> set[str]:
    """The names of the fields of a pydantic model or of a JSON schema."""
    if response_format is None:
        return set()
    if isinstance(response_format, Mapping):
        schema = response_format.get("json_schema", response_format)
        return set(schema.get("schema", schema).get("properties", ()))
    return set(response_format.model_fields)


def _draft(mail: str) -> str:
    subject = re.search(r"\b(meeting|invoice|order|appointment|interview|report)\b", mail, re.IGNORECASE)
    thanks = f"for writing about the {subject.group().lower()}" if subject else "for your message"
    return f"Hello, thank you {thanks}. I have noted it and will get back to you soon."
