"""E-mail triage: an agent decides whether a mail is spam; another one answers it if it is not."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Never

import pydantic
from agent_framework import (
    AgentExecutorRequest,
    AgentExecutorResponse,
    BaseChatClient,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    executor,
)

import chat

CURRENT_EMAIL_KEY = "current_email_id"

DETECTOR_INSTRUCTIONS = (
    "You judge whether an e-mail is spam. Answer with is_spam, and with the reason in one short sentence."
)
ASSISTANT_INSTRUCTIONS = "You draft the answer to an e-mail: short, friendly and to the point. Answer with response."


class DetectionResultAgent(pydantic.BaseModel):
    """What the detector agent answers."""

    is_spam: bool
    reason: str


class EmailResponse(pydantic.BaseModel):
    """What the assistant agent answers."""

    response: str


@dataclass
class Email:
    """A mail, as kept in shared state."""

    email_id: str
    email_content: str


@dataclass
class DetectionResult:
    """The verdict on a mail. It names the mail and leaves its text in shared state."""

    is_spam: bool
    reason: str
    email_id: str


def email_key(email_id: str) -> str:
    """Name a mail's place in shared state."""
    return f"email:{email_id}"


@executor(id="store_email")
async def store_email(email_text: str, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
    """Keep the mail in shared state and ask the detector about it."""
    email = Email(email_id=str(uuid.uuid4()), email_content=email_text)
    ctx.set_state(email_key(email.email_id), email)
    ctx.set_state(CURRENT_EMAIL_KEY, email.email_id)
    await ctx.send_message(ask_about(email))


@executor(id="to_detection_result")
async def to_detection_result(response: AgentExecutorResponse, ctx: WorkflowContext[DetectionResult]) -> None:
    """Turn the detector's answer into a verdict on the current mail."""
    answer = DetectionResultAgent.model_validate_json(response.agent_response.text)
    email_id: str = ctx.get_state(CURRENT_EMAIL_KEY)
    await ctx.send_message(DetectionResult(answer.is_spam, answer.reason, email_id))


@executor(id="handle_spam")
async def handle_spam(detection: DetectionResult, ctx: WorkflowContext[Never, str]) -> None:
    """End with the reason why it is spam."""
    await ctx.yield_output(f"Email marked as spam: {detection.reason}")


@executor(id="submit_to_email_assistant")
async def submit_to_email_assistant(detection: DetectionResult, ctx: WorkflowContext[AgentExecutorRequest]) -> None:
    """Read the mail back from shared state and ask the assistant for an answer."""
    email: Email = ctx.get_state(email_key(detection.email_id))
    await ctx.send_message(ask_about(email))


@executor(id="finalize_and_send")
async def finalize_and_send(response: AgentExecutorResponse, ctx: WorkflowContext[Never, str]) -> None:
    """End with the answer that the assistant drafted."""
    answer = EmailResponse.model_validate_json(response.agent_response.text)
    await ctx.yield_output(f"Email sent: {answer.response}")


def ask_about(email: Email) -> AgentExecutorRequest:
    """Put a mail to an agent: its text as it is, so that the text is one and the same value wherever it goes."""
    return AgentExecutorRequest(messages=[Message("user", [email.email_content])])


def is_spam(detection: DetectionResult) -> bool:
    """Choose the spam branch."""
    return detection.is_spam


def is_not_spam(detection: DetectionResult) -> bool:
    """Choose the branch that answers."""
    return not detection.is_spam


def build_workflow(client: BaseChatClient[Any] | None = None) -> Workflow:
    """Build the graph with agents that use this chat client, or else the one that the environment names."""
    client = client or chat.client_from_environment()
    detector = client.as_agent(
        name="spam_detection_agent",
        instructions=DETECTOR_INSTRUCTIONS,
        default_options={"response_format": DetectionResultAgent},
    )
    assistant = client.as_agent(
        name="email_assistant_agent",
        instructions=ASSISTANT_INSTRUCTIONS,
        default_options={"response_format": EmailResponse},
    )
    # The agents' own answers are steps on the way: what the run gives back comes from the two executors at the ends.
    builder = WorkflowBuilder(
        name="email_triage", start_executor=store_email, output_from=[handle_spam, finalize_and_send]
    )
    return (
        builder.add_edge(store_email, detector)
        .add_edge(detector, to_detection_result)
        .add_edge(to_detection_result, handle_spam, condition=is_spam)
        .add_edge(to_detection_result, submit_to_email_assistant, condition=is_not_spam)
        .add_edge(submit_to_email_assistant, assistant)
        .add_edge(assistant, finalize_and_send)
        .build()
    )
