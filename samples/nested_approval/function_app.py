"""A purchase is signed off by one person or two before it is ordered. Signing off is a workflow of its own."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Never

from agent_framework import (
    Executor,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    WorkflowExecutor,
    executor,
    handler,
    response_handler,
)
from pydantic import BaseModel, Field

from perdure import AgentFunctionApp, WorkflowHitlContext

logger = logging.getLogger("nested_approval")


class Purchase(BaseModel):
    """What somebody wants to buy; the body of the request that starts a run."""

    item: str
    price: float = Field(gt=0)
    wanted_by: str


@dataclass
class ToSign:
    """What a person is shown."""

    purchase: Purchase
    signed_by: list[str]


class Signature(BaseModel):
    """What the person says."""

    approved: bool
    comment: str = ""


@dataclass
class SignedOff:
    """How it came out."""

    purchase: Purchase
    approved: bool
    signed_by: list[str]
    comment: str


class Signatory(Executor):
    """Asks one person. Above their limit, the next one has to sign too."""

    def __init__(self, role: str, limit: float) -> None:
        super().__init__(role)
        self.limit = limit

    @handler
    async def ask(self, to_sign: ToSign, ctx: WorkflowContext[ToSign, SignedOff]) -> None:
        """Ask; the run waits, and so does nothing else."""
        await ctx.request_info(to_sign, Signature)
        address = WorkflowHitlContext.from_context(ctx)
        if address is not None:
            # Here a real application would send a mail with the link.
            request = await WorkflowHitlContext.pending_request_id(ctx)
            logger.warning("For the %s to sign: POST %s", self.id, address.build_respond_url(request or ""))

    @response_handler
    async def signed(self, asked: ToSign, signature: Signature, ctx: WorkflowContext[ToSign, SignedOff]) -> None:
        """Stop at a refusal and at who may decide alone; else ask the next one."""
        signed_by = [*asked.signed_by, self.id]
        if signature.approved and asked.purchase.price > self.limit:
            await ctx.send_message(ToSign(asked.purchase, signed_by))
        else:
            await ctx.yield_output(SignedOff(asked.purchase, signature.approved, signed_by, signature.comment))


@executor(id="take")
async def take(purchase: Purchase, ctx: WorkflowContext[ToSign]) -> None:
    """Take a purchase in."""
    await ctx.send_message(ToSign(purchase, []))


@executor(id="order")
async def order(outcome: SignedOff, ctx: WorkflowContext[Never, str]) -> None:
    """Order what was signed."""
    said = f" ({outcome.comment})" if outcome.comment else ""
    if outcome.approved:
        await ctx.yield_output(f"Ordered: {outcome.purchase.item}, signed by {' and '.join(outcome.signed_by)}{said}")
    else:
        await ctx.yield_output(f"Not ordered: {outcome.purchase.item}, refused by {outcome.signed_by[-1]}{said}")


def sign_off() -> Workflow:
    """Build the workflow inside: the manager alone up to 1,000, and the director above. It knows no purchase orders."""
    manager, director = Signatory("manager", 1000), Signatory("director", math.inf)
    builder = WorkflowBuilder(name="sign_off", start_executor=manager, output_from=[manager, director])
    return builder.add_edge(manager, director).build()


def build_workflow() -> Workflow:
    """Build the workflow around it. Its people are asked on the run of this one: ``propagate_request``."""
    signing = WorkflowExecutor(sign_off(), id="sign_off", propagate_request=True)
    builder = WorkflowBuilder(name="purchase", start_executor=take, output_from=[order])
    return builder.add_chain([take, signing, order]).build()


app = AgentFunctionApp(workflow=build_workflow())
