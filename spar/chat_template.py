"""Renders conversations with a model's own chat template, in the same way for searches and trainings.

What a template cannot render is adapted before it is rendered, and said once: a system turn that it refuses
or leaves out, be it only once a reply follows (Mistral's), is put at the start of the user's turn that follows,
two turns of one role in a row are joined, and texts become lists of parts where it reads nothing else. What it can
render is found out by rendering probe words in each role. A template that leaves out what the user says is an error.

Texts go through `spar.sanitize`, so that no text can forge a turn. A template that reads the clock gets a
fixed date, so that a run can be repeated and a training sees what the search saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from spar.errors import UsageError, did_you_mean
from spar.sanitize import sanitize, special_pattern, special_tokens
from spar.types import Message

CLOCK = "strftime_now"
"""The function with which a template reads the clock; as an argument, the date to show, such as 2026-01-31."""
REASONING_EFFORT = "reasoning_effort"
"""The argument by which templates take how long the model shall think."""

_DATE = datetime(2024, 7, 26)  # what Llama's templates show where there is no clock
_SEPARATOR = "\n\n"
_PROBES = {"system": "Zebra quartz 7", "user": "Violet anchor 3", "assistant": "Maple comet 9"}
_GIVEN = frozenset(
    {"messages", "add_generation_prompt", "raise_exception", "bos_token", "eos_token"}
)
_TURNS = frozenset({"messages", "add_generation_prompt", "tools", "documents"})
_GENERATION_MARK = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")

_Fate = Literal["shows", "leaves out", "refuses"]
_SystemFate = Literal["shows", "drops", "leaves out", "refuses"]
Turn = dict[str, Any]
"""A turn in the template's format: `role`, and `content` as a text or a list of parts."""


@dataclass(frozen=True, slots=True)
class Adaptations:
    """What is done to conversations so that a template renders them whole."""

    parts: bool = False
    """Contents are lists of one text part, as for models that see."""
    fold_system: Literal["no", "later", "all"] = "no"
    """Which system turns are put at the start of the user's next turn: none, those after the start, or all."""
    join_turns: bool = False
    """Two turns of one role in a row are joined."""
    system: _SystemFate = "shows"
    """What the template does to the system turns that are folded; "drops" is to leave them out once a reply follows."""
    assistant: Literal["shows", "leaves out", "refuses"] = "shows"
    """What the template does to the assistant's turns. Nothing can be done about these."""


class ChatTemplate:
    """A tokenizer's chat template.

    Parameters
    ----------
    tokenizer:
        As loaded by transformers.
    note:
        Takes a line for the user, once for each way in which conversations are adapted.
    """

    def __init__(self, tokenizer: Any, note: Callable[[str], None] = lambda _: None) -> None:
        self.tokenizer = tokenizer
        self.special_tokens = special_tokens(tokenizer)
        """As texts; none of them survives in a turn."""
        self.special_pattern = special_pattern(self.special_tokens)
        self._note = note
        self._noted: set[str] = set()
        self._adaptations: Adaptations | None = None

    @property
    def adaptations(self) -> Adaptations:
        """What is done to conversations; found out when it is first needed.

        Raises
        ------
        UsageError
            The template leaves out what the user says, or refuses even one turn of the user.
        """
        if self._adaptations is None:
            self._adaptations = _probe(self._probe_text)
        return self._adaptations

    def check(self, model: str, arguments: Iterable[Mapping[str, Any]] = ()) -> None:
        """Say at once what cannot be rendered, before anything is generated or trained.

        Parameters
        ----------
        model:
            Its name, for messages.
        arguments:
            The template's arguments in the conversations to come.

        Raises
        ------
        UsageError
            There is no template, or it cannot render a user's turn, or it reads no such argument.
        """
        template = getattr(self.tokenizer, "chat_template", None)
        if isinstance(template, dict) and "default" not in template:
            raise UsageError(
                f"--model {model}: its tokenizer has the chat templates {', '.join(sorted(template))} and none "
                "named default; put the one to use into chat_template.jinja in a copy of its folder"
            )
        if not template:
            raise UsageError(
                f"--model {model}: its tokenizer has no chat template; use a chat model, or put a "
                "chat_template.jinja into its folder"
            )
        try:
            adaptations = self.adaptations
        except UsageError as error:
            raise UsageError(f"--model {model}: {error}") from error
        for each in arguments:
            self._check_arguments(model, each)
        if adaptations.assistant != "shows":
            self._say(
                f"the chat template {adaptations.assistant} the assistant's turns, so that a refiner sees no "
                "critique"
            )
        if CLOCK in self.source and not any(CLOCK in each for each in arguments):
            self._say(
                f"the chat template shows the date: it is {_DATE:%Y-%m-%d} in every prompt, so that the run can "
                f"be repeated (--chat-template-arg {CLOCK}=YYYY-MM-DD sets another)"
            )

    @property
    def source(self) -> str:
        """The template's text; "" if there is none."""
        template = getattr(self.tokenizer, "chat_template", None)
        template = template.get("default") if isinstance(template, dict) else template
        return template or ""

    def turns(self, messages: Sequence[Message]) -> list[Turn]:
        """The conversation in the template's format, adapted to what it can render."""
        adaptations = self.adaptations
        turns = [
            {"role": m.role, "content": sanitize(m.content, self.special_pattern)} for m in messages
        ]
        adapted = adapt(turns, adaptations)
        if len(adapted) < len(turns):
            self._say_adapted(adaptations, {message.role for message in messages})
        return _in_parts(adapted) if adaptations.parts else adapted

    def ids(
        self, turns: Sequence[Turn], arguments: Mapping[str, Any] | None = None, *, prompt: bool
    ) -> list[int]:
        """Tokens of a conversation.

        Parameters
        ----------
        turns:
            As `turns` returns them.
        arguments:
            Variables of the template.
        prompt:
            Whether the tokens that open the assistant's reply follow.

        Raises
        ------
        Exception
            Whatever the template raises for this conversation.
        """
        encoded = self.tokenizer.apply_chat_template(
            list(turns),
            tokenize=True,
            return_dict=True,
            add_generation_prompt=prompt,
            **self._variables(arguments),
        )
        return list(encoded["input_ids"])

    def text(
        self, turns: Sequence[Turn], arguments: Mapping[str, Any] | None = None, *, prompt: bool
    ) -> str:
        """Text of a conversation; parameters and errors as of `ids`."""
        return str(
            self.tokenizer.apply_chat_template(
                list(turns),
                tokenize=False,
                add_generation_prompt=prompt,
                **self._variables(arguments),
            )
        )

    def _variables(self, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        variables = dict(arguments or {})
        if CLOCK in variables or CLOCK in self.source:
            date = variables.get(CLOCK)
            variables[CLOCK] = (_DATE if date is None else _as_date(date)).strftime
        return variables

    def _probe_text(self, turns: Sequence[Turn]) -> str:
        return self.text(turns, prompt=True)

    def _check_arguments(self, model: str, arguments: Mapping[str, Any]) -> None:
        accepted = template_variables(self.source)
        for name, value in arguments.items():
            if name == CLOCK:
                _as_date(value)
            if name in _TURNS or (accepted is not None and name not in accepted):
                flag = (
                    "--reasoning-effort"
                    if name == REASONING_EFFORT
                    else f"--chat-template-arg {name}"
                )
                hint = did_you_mean(name, accepted or ())
                known = ", ".join(sorted((accepted or frozenset()) - _TURNS)) or "none"
                raise UsageError(
                    f"{flag}: the chat template of {model} reads no {name}{hint} (it reads: {known})"
                )

    def _say_adapted(self, adaptations: Adaptations, roles: set[str]) -> None:
        if adaptations.fold_system != "no" and "system" in roles:
            fate = f"{adaptations.system} system turns"
            if adaptations.system == "drops":
                fate = "leaves out system turns once a reply follows"
            self._say(
                f"the chat template {fate}: each is put at the start of the user's turn that follows it"
            )
        elif adaptations.join_turns:
            self._say("the chat template refuses two turns of one role in a row: they are joined")

    def _say(self, line: str) -> None:
        if line not in self._noted:
            self._noted.add(line)
            self._note(line)


def adapt(turns: Sequence[Turn], adaptations: Adaptations) -> list[Turn]:
    """The turns with system turns folded and neighbours joined.

    A conversation that another one begins with stays its beginning, unless it ends with a system turn.
    """
    adapted: list[Turn] = []
    waiting: list[str] = []
    for index, turn in enumerate(turns):
        later = any(before["role"] != "system" for before in turns[:index])
        folds = adaptations.fold_system == "all" or (adaptations.fold_system == "later" and later)
        if turn["role"] == "system" and folds:
            waiting += filter(None, [turn["content"]])
            continue
        if waiting and turn["role"] == "user":
            turn = {**turn, "content": _SEPARATOR.join([*waiting, turn["content"]])}
        elif waiting:
            _append(adapted, {"role": "user", "content": _SEPARATOR.join(waiting)}, adaptations)
        waiting = []
        _append(adapted, turn, adaptations)
    if waiting:
        _append(adapted, {"role": "user", "content": _SEPARATOR.join(waiting)}, adaptations)
    return adapted


def template_variables(source: str) -> frozenset[str] | None:
    """Names of the variables that a template reads, those aside that are always given; None if it is unknown."""
    from jinja2 import Environment, TemplateSyntaxError, meta

    environment = Environment(extensions=["jinja2.ext.loopcontrols"], autoescape=True)
    try:
        names = meta.find_undeclared_variables(environment.parse(_GENERATION_MARK.sub("", source)))
    except TemplateSyntaxError:
        return None
    return frozenset(names) - _GIVEN


def _append(turns: list[Turn], turn: Turn, adaptations: Adaptations) -> None:
    if adaptations.join_turns and turns and turns[-1]["role"] == turn["role"]:
        content = _SEPARATOR.join(filter(None, [turns[-1]["content"], turn["content"]]))
        turns[-1] = {**turn, "content": content}
    else:
        turns.append(turn)


def _in_parts(turns: Sequence[Turn]) -> list[Turn]:
    return [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def _as_date(value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError(
            f"--chat-template-arg {CLOCK}={value}: not a date; write one such as 2026-01-31"
        ) from None


def _probe(render: Callable[[Sequence[Turn]], str]) -> Adaptations:
    """What a template can render, by its renderings of probe words."""
    user, reason = _fate(render, "user")
    parts = user != "shows"
    if parts and _fate(render, "user", parts=True)[0] != "shows":
        detail = f" ({reason})" if reason else ""
        raise UsageError(
            f"its chat template {user} the user's turn{detail}, so no prompt can be rendered; use a chat model, "
            "or put another chat_template.jinja into its folder"
        )

    def fate(*roles: str) -> _Fate:
        return _fate(render, *roles, parts=parts)[0]

    system: _SystemFate = fate("system", "user")
    assistant = fate("user", "assistant", "user")
    replied = _shown(render, "system", "user", "assistant", parts=parts)[0]
    if system == "shows" and replied == [False, True, True]:
        system = "drops"  # a reply could not be trained on in the context of its search
    fold: Literal["no", "later", "all"] = "no" if system == "shows" else "all"
    if fold == "no" and assistant == "shows":
        system = fate("user", "assistant", "system", "user")
        fold = "no" if system == "shows" else "later"
    return Adaptations(
        parts=parts,
        fold_system=fold,
        join_turns=fate("user", "user") == "refuses",
        system=system,
        assistant=assistant,
    )


def _fate(
    render: Callable[[Sequence[Turn]], str], *roles: str, parts: bool = False
) -> tuple[_Fate, str]:
    """What becomes of turns of these roles, and the template's reason if it refuses them."""
    shown, reason = _shown(render, *roles, parts=parts)
    if shown is None:
        return "refuses", reason
    return ("shows" if all(shown) else "leaves out"), ""


def _shown(
    render: Callable[[Sequence[Turn]], str], *roles: str, parts: bool
) -> tuple[list[bool] | None, str]:
    """Which turns of these roles are shown; None where the template refuses them, with its reason."""
    from jinja2 import TemplateError

    words = [f"{_PROBES[role]}{index}" for index, role in enumerate(roles)]
    turns: Sequence[Turn] = [
        {"role": role, "content": word} for role, word in zip(roles, words, strict=True)
    ]
    try:
        text = render(_in_parts(turns) if parts else turns)
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        return None, str(error) or type(error).__name__
    return [word in text for word in words], ""
