from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from modeldiff_harness.artifacts import ROLES, Document, Message, TokenisedCorpus
from modeldiff_harness.corpora.splits import assign_splits
from modeldiff_harness.corpora.tokenise import tokenise
from modeldiff_harness.errors import UsageError
from modeldiff_harness.testing.tiny_models import TINY_TEMPLATE, make_tiny_model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return AutoTokenizer.from_pretrained(make_tiny_model(tmp_path_factory.mktemp("t") / "m"))


def run(tokenizer: Any, *documents: Document, **given: Any) -> TokenisedCorpus:
    given = {"chat_template": TINY_TEMPLATE, **given}
    return tokenise(documents, tokenizer, tokenizer_digest="digest", **given)


def chat(doc_id: str, *turns: str, **tags: Any) -> Document:
    roles = ("user", "assistant") * len(turns)
    messages = tuple(Message(r, c) for r, c in zip(roles, turns, strict=False))
    return Document(doc_id, messages, **tags)


def text_of(corpus: TokenisedCorpus, tokenizer: Any, role: str, kept: bool | None = None) -> str:
    chosen = corpus.roles_T == ROLES.index(role)
    if kept is not None:
        chosen &= corpus.keep_T == kept
    return str(tokenizer.decode(corpus.tokens_T[chosen].tolist()))


def test_roles_are_those_of_the_turns_even_when_they_repeat_the_template(tokenizer: Any) -> None:
    corpus = run(
        tokenizer, chat("a", "user", "assistant says: You are tiny.", "system", "Très bien 🙂")
    )
    assert text_of(corpus, tokenizer, "user") == "usersystem"
    assert text_of(corpus, tokenizer, "assistant") == "assistant says: You are tiny.Très bien 🙂"
    whole = tokenizer.decode(corpus.tokens_T.tolist())
    assert whole == tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in corpus.documents[0].messages],
        tokenize=False,
    )


def test_what_every_chat_starts_with_is_run_and_not_kept(tokenizer: Any) -> None:
    corpus = run(tokenizer, chat("a", "dog", "fox"))
    preamble = "<|start|>system\nYou are tiny.<|end|>\n<|start|>user\n"
    assert text_of(corpus, tokenizer, "template", kept=False) == preamble
    after = "<|end|>\n<|start|>assistant\n<|end|>\n"
    assert text_of(corpus, tokenizer, "template", kept=True) == after
    dropped = run(tokenizer, chat("a", "dog", "fox"), drop_template=True)
    assert text_of(dropped, tokenizer, "template", kept=True) == ""
    assert text_of(dropped, tokenizer, "user", kept=True) == "dog"


def test_a_system_turn_is_the_systems(tokenizer: Any) -> None:
    document = Document("a", (Message("system", "Be kind."), Message("user", "dog")))
    corpus = run(tokenizer, document)
    assert text_of(corpus, tokenizer, "system", kept=True) == "Be kind."


def test_templates_that_strip_turns_are_followed_and_rewriting_ones_refused(tokenizer: Any) -> None:
    strip = "{% for m in messages %}<|start|>{{ m['content'] | trim }}<|end|>{% endfor %}"
    corpus = run(tokenizer, chat("a", "  dog \n", "fox"), chat_template=strip)
    assert text_of(corpus, tokenizer, "user") == "dog"
    shout = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(UsageError, match="rewrites the turns of document 'a'"):
        run(tokenizer, chat("a", "dog"), chat_template=shout)
    refuse = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(UsageError, match="refuses document 'a': System role not supported"):
        run(tokenizer, chat("a", "dog"), chat_template=refuse)
    with pytest.raises(UsageError, match="--chat_template"):
        run(tokenizer, chat("a", "dog"), chat_template=None)


def test_bos_is_run_and_not_kept_and_never_doubled(tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    folder = make_tiny_model(tmp_path / "m", add_bos=True, chat_template=template)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    corpus = run(
        tokenizer, Document("a", text="the dog"), chat("b", "the fox"), chat_template=template
    )
    for n in range(2):
        span = slice(corpus.offsets_N1[n], corpus.offsets_N1[n + 1])
        is_bos = corpus.tokens_T[span] == tokenizer.bos_token_id
        assert is_bos.tolist() == [True] + [False] * (len(is_bos) - 1)
        assert (corpus.keep_T[span] == ~is_bos).all()


def test_long_documents_are_cut_and_counted(tokenizer: Any) -> None:
    corpus = run(tokenizer, Document("a", text="dog " * 50), Document("b", text="fox"), context=20)
    assert np.diff(corpus.offsets_N1).max() == 20
    assert corpus.n_truncated == 1
    assert (corpus.roles_T == ROLES.index("web")).all()


def corpus_of(n_prompts: int) -> list[Document]:
    return [
        chat(f"{c}-{n}-{a}", f"{c} question {n}", f"answer {'dog ' * (5 + n % 7)}", capability=c,
             author=a)
        for c in ("refusal", "summarization", "code_generation")
        for n in range(n_prompts)
        for a in ("one", "two")
    ]  # fmt: skip


def test_the_order_of_documents_cannot_matter(tokenizer: Any) -> None:
    documents = corpus_of(10)
    one = run(tokenizer, *documents, max_tokens=1_500)
    other = run(tokenizer, *documents[::-1], max_tokens=1_500)
    assert one.documents == other.documents
    for name in ("tokens_T", "roles_T", "keep_T", "offsets_N1", "splits_N"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_cap_takes_an_even_share_of_whole_prompts(tokenizer: Any) -> None:
    documents = corpus_of(40)
    whole = run(tokenizer, *documents)
    cap = whole.n_tokens // 2
    corpus = run(tokenizer, *documents, max_tokens=cap)
    assert 0.9 * cap < corpus.n_tokens <= cap
    capabilities = Counter(d.capability for d in corpus.documents)
    assert max(capabilities.values()) - min(capabilities.values()) <= 6
    authors = Counter(d.author for d in corpus.documents)
    assert authors["one"] == authors["two"]
    for s in range(4):
        share = (corpus.splits_N == s).sum() / (whole.splits_N == s).sum()
        assert 0.3 < share < 0.7
    numbers = {int(d.doc_id.split("-")[1]) for d in corpus.documents}
    assert max(numbers) > 35  # not the first N


def test_a_prompt_keeps_its_split_under_any_cap(tokenizer: Any) -> None:
    documents = corpus_of(12)
    split_of = dict(
        zip([d.doc_id for d in documents], assign_splits(documents).tolist(), strict=True)
    )
    corpus = run(tokenizer, *documents, max_tokens=1_200)
    assert 0 < corpus.n_documents < len(documents)
    assert [split_of[d.doc_id] for d in corpus.documents] == corpus.splits_N.tolist()


def test_empty_and_doubled_corpora_are_refused(tokenizer: Any) -> None:
    with pytest.raises(UsageError, match="holds no documents"):
        run(tokenizer)
    with pytest.raises(UsageError, match="two documents"):
        run(tokenizer, Document("a", text="one"), Document("a", text="two"))
    with pytest.raises(UsageError, match="less than any one prompt"):
        run(tokenizer, chat("a", "dog", "fox"), max_tokens=3)


def test_tokenizers_that_read_every_document_alike_are_named(tokenizer: Any) -> None:
    import copy

    ends, grown, other = (copy.deepcopy(tokenizer) for _ in range(3))
    ends.eos_token = "<|start|>"
    grown.add_tokens(["<think>"])
    other.add_tokens(["fox"])
    others = {"ends": ends, "grown": grown, "other": other}
    documents = [Document("w", text="the quick brown fox"), chat("c", "Hi", "a book", author="m")]
    assert run(tokenizer, *documents, others=others).also_read_by == ("ends", "grown")
    thought = chat("t", "Hi", "<think> a book", author="m")
    assert run(tokenizer, thought, others=others).also_read_by == ("ends", "other")
    late = Document("l", text="the sea " * 20 + "<think>")
    assert "grown" in run(tokenizer, late, others=others, context=10).also_read_by
    assert run(tokenizer, *documents).also_read_by == ()
