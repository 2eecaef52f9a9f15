from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeldiff_harness.artifacts import Document, Message
from modeldiff_harness.builtin import corpus_capability, corpus_files, corpus_hub
from modeldiff_harness.corpora.capability import capability_corpus
from modeldiff_harness.corpora.described import DescribedCorpus
from modeldiff_harness.corpora.documents import (
    prompt_key,
    read_hub,
    read_jsonl,
    read_parquet,
    read_text,
)
from modeldiff_harness.errors import RunError, UsageError


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return path


TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def test_every_shape_of_row_becomes_a_document(tmp_path: Path) -> None:
    file = write(
        tmp_path / "d.jsonl",
        {"text": "Plain web text."},
        {"messages": TURNS, "capability": "refusal", "author": "m", "doc_id": "d2", "prompt_id": 7},
        "",
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"prompt": "Hi", "response": "Hello", "author": "m"},
        {"text": "Plain web text."},
    )
    text, chat, shared, pair = read_jsonl(file)  # the repeated text counts once
    assert (text.text, text.author, text.messages) == ("Plain web text.", "web", ())
    turns = (Message("user", "Hi"), Message("assistant", "Hello"))
    assert chat == Document("d2", turns, capability="refusal", author="m", prompt_id="7")
    assert shared.messages == pair.messages == turns
    assert prompt_key(shared) == prompt_key(pair) != prompt_key(chat) == "7"


def test_gzip_and_parquet_hold_the_same_documents(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "capability": "refusal", "doc_id": f"d{n}"} for n in range(3)]
    plain = write(tmp_path / "d.jsonl", *rows)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    expected = read_jsonl(plain)
    assert [*corpus_files.jsonl(str(tmp_path / "d.jsonl.gz"))] == expected
    assert [*corpus_files.parquet(str(tmp_path / "d.parquet"))] == expected


def test_text_comes_a_file_or_a_paragraph_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\n\nTwo\nlines.\n\n\n\nThree.", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Four.", encoding="utf-8")
    assert [d.text for d in read_text(tmp_path / "a.txt")] == ["One.", "Two\nlines.", "Three."]
    assert [d.text for d in corpus_files.text(str(tmp_path))] == [
        "One.\n\nTwo\nlines.\n\n\n\nThree.",
        "Four.",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"text": "a"', "line 2: not JSON"),
        ([1], "line 2: not a JSON object"),
        ({"body": "x"}, r"line 2: needs either text or messages \(fields found: body\)"),
        ({"text": "  "}, "line 2: text is empty"),
        ({"text": "a", "messages": TURNS}, "line 2: needs either"),
        ({"messages": []}, "line 2: messages is not a list"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "line 2: unknown role 'robot'"),
        ({"messages": [{"role": "user", "content": ""}]}, "line 2: a user turn is empty"),
        ({"messages": ["hello"]}, "line 2: a turn is not an object"),
        ({"prompt": "a"}, "line 2: a prompt without an answer"),
        ({"text": "a", "author": ["x"]}, "line 2: author is not text"),
        ({"text": "other", "doc_id": "one"}, "two different documents have doc_id 'one'"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path: Path, row: object, words: str) -> None:
    file = write(tmp_path / "d.jsonl", {"text": "good", "doc_id": "one"}, row)
    with pytest.raises(UsageError, match=words) as error:
        read_jsonl(file)
    assert "\n" not in str(error.value)


def test_missing_empty_and_foreign_files_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}')
    (tmp_path / "not.parquet").write_bytes(b"hello")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b'{"text": "a"}')[:-9])
    for read, name, words in (
        (read_jsonl, "gone.jsonl", "does not exist"),
        (read_jsonl, "empty.jsonl", "holds no documents"),
        (read_jsonl, "latin.jsonl", "cannot be read"),
        (read_jsonl, "torn.gz", "cannot be read"),
        (read_parquet, "not.parquet", "not readable parquet"),
        (read_parquet, "gone.parquet", "does not exist"),
        (read_text, "gone.txt", "does not exist"),
    ):
        with pytest.raises(UsageError, match=words):
            read(tmp_path / name)
    for create in (corpus_files.jsonl, corpus_hub.create):
        with pytest.raises(UsageError, match="needs a"):
            create()


def test_hub_sets_offline_name_the_way_out() -> None:
    with pytest.raises(RunError, match="Save it as JSONL"):
        read_hub("org/set", offline=True)


def test_hub_rows_go_through_the_same_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = [{"chat": TURNS, "id": 1}, {"chat": TURNS[:1], "id": 2}, {"chat": None, "id": 3}]

    class Rows:
        def take(self, limit: int) -> list[dict[str, object]]:
            return rows[:limit]

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Rows())
    corpus = corpus_hub.create("org/set", column="chat", limit=2)
    found = [*corpus]
    assert [len(d.messages) for d in found] == [2, 1]
    with pytest.raises(UsageError, match="row 3: no column 'chat'"):
        [*corpus_hub.create("org/set", column="chat", limit=3)]


def test_a_corpus_describes_itself_without_building_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "d.jsonl", {"text": "one"})
    folder = tmp_path / "texts"
    folder.mkdir()
    write(folder / "a.txt", "text")

    def made() -> list[DescribedCorpus]:
        return [
            corpus_files.jsonl(str(file)),
            corpus_files.text(str(folder)),
            corpus_capability.create(str(file), share=0.5),
            corpus_hub.create("org/set", revision="abc"),
        ]

    monkeypatch.setattr(Document, "__init__", None)
    before = [corpus.fingerprint() for corpus in made()]
    assert before == [corpus.fingerprint() for corpus in made()]
    assert str(tmp_path) not in json.dumps(before), "the content speaks, not where it lies"
    assert corpus_hub.create("org/set", revision="xyz").fingerprint() != before[-1]
    write(file, {"text": "two"})
    write(folder / "a.txt", "other")
    after = [corpus.fingerprint() for corpus in made()]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        False, False, False, True,
    ]  # fmt: skip


def test_capability_corpus_joins_the_models_answers(tmp_path: Path) -> None:
    file = write(
        tmp_path / "answers.jsonl",
        {"prompt_id": "corpus-refusal-001", "author": "m1", "answer": "No."},
        {"prompt_id": "corpus-refusal-001", "author": "m2", "answer": "Yes."},
        {"prompt_id": "corpus-multilingual-001", "author": "m2", "answer": "   "},
    )
    own = capability_corpus()
    found = [*corpus_capability.create(str(file))]
    extra = found[len(own) :]
    assert [(d.author, d.capability, d.messages[1].content) for d in extra] == [
        ("m1", "refusal", "No."),
        ("m2", "refusal", "Yes."),
    ]
    assert prompt_key(extra[0]) == prompt_key(extra[1])
    assert len([*corpus_capability.create([file], authors=["m1"])]) == len(own) + 1
    with pytest.raises(UsageError, match="no answers of m3"):
        [*corpus_capability.create([file], authors=["m3"])]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt_id": "nope", "author": "m", "answer": "x"}], "'nope', which is not known"),
        ([{"prompt_id": "corpus-refusal-001", "answer": "x"}], "needs prompt_id, author"),
        (
            [{"prompt_id": "corpus-refusal-001", "author": "m", "answer": a} for a in "xy"],
            "line 2: a second answer of 'm'",
        ),
    ],
)
def test_bad_answer_files_are_named_by_line(tmp_path: Path, rows: list[object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        capability_corpus([write(tmp_path / "a.jsonl", *rows)])


BROKEN = {"half\ud83d a pair": "half a surrogate pair at character 5", "nu\0l": "a NUL character"}


@pytest.mark.parametrize("text", BROKEN)
def test_what_no_tokenizer_can_take_is_refused_by_line(tmp_path: Path, text: str) -> None:
    turns = [TURNS[0], {"role": "assistant", "content": text}]
    for bad in ({"text": text}, {"messages": turns}, {"text": "fine", "doc_id": text}):
        rows = [{"text": "good"}, bad]
        file = tmp_path / "c.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        with pytest.raises(UsageError, match=f"line 2.*{BROKEN[text]}"):
            read_jsonl(file)
    answer = {"prompt_id": "corpus-refusal-001", "author": "m1", "answer": text}
    with pytest.raises(UsageError, match=f"line 1, answer: {BROKEN[text]}"):
        capability_corpus([write(tmp_path / "a.jsonl", json.dumps(answer))])


def test_a_nul_in_plain_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.txt"
    file.write_text("one\n\ntw\0o")
    with pytest.raises(UsageError, match="block 2: a NUL character at character 3"):
        read_text(file)


def test_a_whole_pair_is_a_character(tmp_path: Path) -> None:
    file = write(tmp_path / "c.jsonl", '{"text": "\\ud83d\\ude00"}')
    assert read_jsonl(file)[0].text == "\U0001f600"
