from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modeldiff_harness.checks import run_checks
from modeldiff_harness.demo import rates
from modeldiff_harness.demo.records import (
    ADAPTER_ALIASES,
    ADAPTERS,
    ALIASES,
    ANSWERS,
    CORPUS_PROMPTS,
    TRAIN_PROMPTS,
    read_jsonl,
)

PROMPTS = read_jsonl(CORPUS_PROMPTS)


@pytest.mark.parametrize("alias", ALIASES)
def test_every_model_answered_every_corpus_prompt_in_order(alias: str) -> None:
    records = read_jsonl(ANSWERS / f"{alias}.jsonl")
    assert [r["prompt_id"] for r in records] == [p["prompt_id"] for p in PROMPTS]
    assert all(set(r) == {"prompt_id", "author", "answer"} for r in records)
    assert {r["author"] for r in records} == {alias}
    assert sum(not r["answer"].strip() for r in records) <= 0.02 * len(records)


def test_answers_are_to_held_out_prompts() -> None:
    trained = {p["prompt"].casefold() for p in read_jsonl(TRAIN_PROMPTS)}
    assert not trained & {p["prompt"].casefold() for p in PROMPTS}


def recounted(row: str, alias: str) -> tuple[int, int]:
    """Count one row anew, from its name, by a loop of its own."""
    behaviour = next(b for b in rates.BEHAVIOURS if b.name == row)
    answers = {r["prompt_id"]: r["answer"] for r in read_jsonl(ANSWERS / f"{alias}.jsonl")}
    shown = n = 0
    for prompt in PROMPTS:
        specs: list[Any] = list(behaviour.checks or prompt.get("checks", []))
        if prompt["capability"] not in behaviour.capabilities or not specs:
            continue
        if behaviour.unsafe in (True, False):
            expected = prompt["checks"][0]["args"]["expected"]
            if expected is not behaviour.unsafe:
                continue
        n += 1
        results = run_checks(prompt["prompt"], answers[prompt["prompt_id"]], specs)
        shown += min(result.passed for result in results)
    return shown, n


@pytest.mark.parametrize("alias", ADAPTER_ALIASES)
def test_the_card_s_table_equals_a_recount(alias: str) -> None:
    card = (ADAPTERS / alias / "MODEL_CARD.md").read_text("utf-8")
    block = card.split(rates.BEGIN)[1].split(rates.END)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.split("\n") if line]
    assert rows[0][3:] == list(ALIASES)
    named = {row[0]: row for row in rows[2:]}
    assert {b.name for b in rates.BEHAVIOURS} < set(named)
    for behaviour in rates.BEHAVIOURS:
        row = named[behaviour.name]
        for column, author in enumerate(ALIASES, start=3):
            shown, n = recounted(behaviour.name, author)
            assert int(row[2]) == n
            said = int(re.match(r"(\d+)%", row[column]).group(1))  # type: ignore[union-attr]
            assert abs(said - 100 * shown / n) <= 0.51


def test_planted_behaviours_moved_and_the_null_twin_s_did_not() -> None:
    answers = rates.load_answers()
    moved = {}
    for behaviour in rates.BEHAVIOURS:
        shares = {}
        for alias in ALIASES:
            shown, n = rates.counts(behaviour, PROMPTS, answers[alias])
            shares[alias] = shown / n
        sign = {"up": 1, "down": -1, "same": 0}[behaviour.direction]
        moved[behaviour.name] = sign * (shares["smollm2-simpo"] - shares["smollm2-sft"])
        assert abs(shares["smollm2-sft-b"] - shares["smollm2-sft"]) < 0.2, behaviour.name
    assert min(moved.values()) >= 0
    assert sum(by > 0.3 for by in moved.values()) >= 6


@pytest.mark.parametrize("alias", ADAPTER_ALIASES)
def test_adapters_are_small_bf16_and_name_no_machine(alias: str) -> None:
    from safetensors import safe_open

    folder = ADAPTERS / alias
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "smollm2-it"
    assert config["r"] == 8
    assert not re.search(r"/(?:tmp|home|root|work|usr)\b", json.dumps(config))
    blocks: dict[int, int] = {}
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118  (not a mapping)
            assert str(weights.get_slice(name).get_dtype()) == "BF16"
            block = int(re.search(r"layers\.(\d+)\.", name).group(1))  # type: ignore[union-attr]
            blocks[block] = blocks.get(block, 0) + 1
    assert blocks == dict.fromkeys(range(30), 14)


def test_adapters_together_stay_below_16_mb() -> None:
    files = [p for p in ADAPTERS.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 16_000_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from importlib.metadata import PackageNotFoundError, distribution

    from modeldiff_harness.demo.convert import DISTRIBUTION, convert_smollm2

    try:
        distribution(DISTRIBUTION)
    except PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed")
    target = tmp_path_factory.mktemp("converted") / "smollm2"
    convert_smollm2(target)
    return target


@pytest.mark.slow
def test_conversion_gives_a_loadable_model_with_a_chat_template(base: Path) -> None:
    from modeldiff_harness.demo.generate import load_base, render

    model, tokenizer = load_base(base)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (30, 576)
    assert render(tokenizer, "Hi").endswith(
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    left = {p.name for p in base.parent.iterdir() if p.suffix != ".lock"}
    assert left == {base.name}


@pytest.mark.slow
def test_adapters_are_really_applied_and_differ(base: Path) -> None:
    import torch

    from modeldiff_harness.demo.generate import load_base, load_tuned, render

    model, tokenizer = load_base(base)
    ids = tokenizer(render(tokenizer, "How do I make tea?"), return_tensors="pt")["input_ids"]
    hidden = {"smollm2-it": model.model(ids)[0]}
    for alias in ADAPTER_ALIASES:
        hidden[alias] = load_tuned(base, ADAPTERS / alias)[0].model(ids)[0]
    for first in ALIASES:
        for second in ALIASES:
            if first < second:
                apart = (hidden[first] - hidden[second]).norm() / hidden[second].norm()
                assert apart.item() > 1e-3, (first, second)
    assert all(bool(torch.isfinite(x).all()) for x in hidden.values())


@pytest.mark.slow
@pytest.mark.parametrize("alias", ["smollm2-it", "smollm2-simpo"])
def test_shipped_answers_come_from_the_shipped_models(base: Path, alias: str) -> None:
    from modeldiff_harness.demo.generate import Request, generate, load_base, load_tuned

    shipped = {r["prompt_id"]: r["answer"] for r in read_jsonl(ANSWERS / f"{alias}.jsonl")}
    model, tokenizer = (
        load_base(base) if alias == "smollm2-it" else load_tuned(base, ADAPTERS / alias)
    )
    wanted = [Request(p["prompt_id"], p["prompt"]) for p in PROMPTS[::65]]
    answers = [a for b in generate(model, tokenizer, wanted, n_tokens=16, batch_size=8) for a in b]
    same = sum(shipped[a.key].startswith(a.text.rstrip("\ufffd")) for a in answers)
    assert same >= len(answers) - 1
