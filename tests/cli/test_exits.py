"""How commands end: the code is the work's alone, whatever becomes of what they print."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from modeldiff_harness.cli import main
from modeldiff_harness.contracts import Component
from modeldiff_harness.errors import Interrupted, is_interrupt
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.report.schema import to_json
from modeldiff_harness.testing.reports import sample_report

PASSES = "criteria:\n- {benchmark: piqa, margin: 0.05}\n"
FAILS = "criteria:\n- {benchmark: gsm8k, margin: 0.02}\n"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "report.json").write_text(to_json(sample_report()), encoding="utf-8")
    return folder


def code_of(arguments, stdout=None, stderr=None) -> int:
    """Run `mdh` in this process with these streams; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", stderr)
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
    return stop.value.code


def nobody_reads():
    """A pipe whose reader is gone, as after `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def latin_1():
    return io.TextIOWrapper(io.BytesIO(), encoding="latin-1")


def full():
    return open("/dev/full", "w", encoding="utf-8")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"none": lambda: None, "no reader": nobody_reads, "latin-1": latin_1, "full": full,
           "closed": closed}  # fmt: skip


@pytest.fixture
def codes(run, tmp_path):
    """The exit codes of a gate that passes, one that fails and one that is asked wrongly."""

    def of(make_out, make_err) -> list[int]:
        found = []
        for text in (PASSES, FAILS, "nonsense: true\n"):
            policy = tmp_path / "gate.yaml"
            policy.write_text(text, encoding="utf-8")
            given = ["gate", run, "--policy", policy]
            found.append(code_of(given, make_out(), make_err()))
        return found

    return of


@pytest.mark.parametrize("stderr", STREAMS)
@pytest.mark.parametrize("stdout", STREAMS)
def test_a_verdict_ends_with_its_own_code_whatever_the_streams(stdout, stderr, codes):
    assert codes(STREAMS[stdout], STREAMS[stderr]) == codes(io.StringIO, io.StringIO)


def test_the_codes_of_a_gate_differ(codes):
    assert codes(io.StringIO, io.StringIO) == [0, 1, 2]


def test_a_letter_that_the_encoding_lacks_is_written_as_its_escape(run):
    out = latin_1()
    code_of(["report", run], out, io.StringIO())
    out.seek(0)
    assert "\\u2192" in out.read()


def test_output_that_is_lost_is_said_unless_nobody_reads(run):
    said = io.StringIO()
    assert code_of(["report", run], full(), said) == 4
    assert "cannot write to standard output" in said.getvalue()
    said = io.StringIO()
    assert code_of(["report", run], nobody_reads(), said) == 0
    assert said.getvalue() == ""


PIPES = {
    "head": ("gate {run} --policy {policy} | head -1 >/dev/null", 1),
    "grep": ("gate {run} --policy {policy} | grep -q FAIL", 1),
    "no stderr": ("gate --nonsense 2>&-", 2),
    "neither": ("gate {run} --policy {policy} >&- 2>&-", 1),
}


@pytest.mark.parametrize("name", PIPES)
def test_a_shell_sees_the_verdict(name, run, tmp_path):
    policy = tmp_path / "gate.yaml"
    policy.write_text(FAILS, encoding="utf-8")
    line, code = PIPES[name]
    program = f"{sys.executable} -c 'from modeldiff_harness.cli import main; main()' "
    command = "set -o pipefail; " + program + line.format(run=run, policy=policy)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


# ── code of others that ends, prints or interrupts ───────────────────────────────────────────


class Own(BaseException):
    """Neither an Exception nor one that Python knows."""


ENDS = {
    "exit 0": SystemExit(0),
    "exit text": SystemExit("x"),
    "exit": SystemExit(),
    "interrupt": KeyboardInterrupt(),
    "end of file": EOFError("it ends early"),
    "own": Own("odd"),
    "generator": GeneratorExit(),
}


@pytest.mark.parametrize("name", ENDS)
def test_code_that_ends_the_program_never_decides_its_exit_code(name, monkeypatch, mdh, run):
    def ends(*_arguments, **_more):
        raise ENDS[name]

    monkeypatch.setattr("modeldiff_harness.report.stored.read_report", ends)
    said = mdh("gate", run)
    assert said.code == 4
    assert said.out == ""
    said.error_line()


@pytest.mark.parametrize("name", ENDS)
def test_a_plugin_that_ends_the_program_is_a_row_of_mdh_plugins(name, monkeypatch, mdh, run):
    @hookimpl
    def mdh_components():
        raise ENDS[name]

    registry = load_registry
    theirs = SimpleNamespace(mdh_components=mdh_components)
    commands = sys.modules["modeldiff_harness.cli.plugins"]  # the package's name is a command's
    for place in (commands, sys.modules["modeldiff_harness.plugins"]):
        monkeypatch.setattr(place, "load_registry", lambda: registry({"theirs": theirs}))
    assert mdh("gate", run / "no", "such").code == 2
    said = mdh("plugins", "--json")
    assert said.code == 0, said.err
    (broken,) = json.loads(said.out)["broken"]
    assert broken["plugin"] == "theirs"
    assert "mdh_components" in broken["error"]


def test_what_plugins_print_stays_out_of_json(monkeypatch, mdh, run):
    class Loud:
        order = 1

        def __init__(self):
            print("made")

        def render(self, report):
            print("rendered")

    @hookimpl
    def mdh_components():
        print("listed")
        return [Component("report_section", "loud", Loud, "prints")]

    registry = load_registry
    theirs = SimpleNamespace(mdh_components=mdh_components)
    monkeypatch.setattr(
        "modeldiff_harness.plugins.load_registry", lambda: registry({"theirs": theirs})
    )
    said = mdh("report", run, "--format", "json")
    assert json.loads(said.out)["pair"]
    assert {"listed", "made"} <= set(said.err.split())
    said = mdh("report", run, "--format", "md")
    assert "rendered" not in said.out


def test_only_a_signal_is_an_interrupt_where_signals_are_handled(monkeypatch):
    assert is_interrupt(KeyboardInterrupt())
    monkeypatch.setattr(Interrupted, "handled", True)
    assert not is_interrupt(KeyboardInterrupt())
    assert is_interrupt(Interrupted(signal.SIGINT))


# ── workflow commands ────────────────────────────────────────────────────────────────────────

COMMANDS = ["::error file=a::b", "  ::set-env name=x::y", "\t::stop-commands::t", "##[error]x",
            "text ##[debug]x", "\u200b::error::x", ":\u200b:error::x", "a\r::error::x"]  # fmt: skip


@pytest.mark.parametrize("piece", [1, 2, 3, 100])
@pytest.mark.parametrize("text", COMMANDS)
def test_no_line_of_a_workflow_begins_like_a_command(text, piece, monkeypatch):
    from modeldiff_harness.cli.streams import Output, print_workflow_command

    found = io.StringIO(newline="")
    out = Output(found, inert=True)
    whole = f"{text}\nb: {text}\n{json.dumps(text, ensure_ascii=False)}\n"
    for start in range(0, len(whole), piece):
        out.write(whole[start : start + piece])
    shown = found.getvalue()
    assert "##[" not in shown
    for line in shown.replace("\r", "\n").split("\n"):
        assert not line.replace("\u200b", "").lstrip().startswith("::")
    if "\r" not in text:
        assert json.loads(shown.splitlines()[2]) == text, "JSON says the same"
    monkeypatch.setattr(sys, "stdout", out)
    print_workflow_command("::notice::ours")
    assert found.getvalue().endswith("\n::notice::ours\n")


def test_outside_a_workflow_text_is_left_as_it_is():
    from modeldiff_harness.cli.streams import Output

    found = io.StringIO()
    Output(found, inert=False).write("::error::x\n")
    assert found.getvalue() == "::error::x\n"


# ── keys ─────────────────────────────────────────────────────────────────────────────────────

ADDRESSES = [
    "https://me:s3cretpass@hub.example",
    "https://hf_abcdefghijkl@hub.example/x",
    "https://hub.example/?token=s3cretpass",
    "https://me:s3cretpass@hub.example:port",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_keys_in_the_address_of_the_hub_are_never_shown(address, mdh, monkeypatch):
    from modeldiff_harness.cli.redaction import redacted

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", address)
    for text in (address, f"nonnumeric port: {address.rpartition('@')[0][-12:]}"):
        assert not {"s3cretpass", "hf_abcdefghijkl"} & set(redacted(text).replace("@", " ").split())
        assert "s3cretpass" not in redacted(text)
    said = mdh("doctor", environment={"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"})
    for secret in ("s3cretpass", "hf_abcdefghijkl"):
        assert secret not in said.out + said.err


# ── signals ──────────────────────────────────────────────────────────────────────────────────

WAITS = """
import sys, time
from modeldiff_harness.cli import cli, main
import click
@cli.command()
def wait():
    try:
        print("ready", file=sys.stderr, flush=True)
        time.sleep(60)
    finally:
        print("unwound", file=sys.stderr, flush=True)
main(["wait"])
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_unwinds_the_work_and_is_the_exit_code(name, code):
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == code
        rest = process.stderr.read()
    assert rest.startswith("unwound\n")
    assert "Finished work is kept" in rest
    assert "Traceback" not in rest


def test_a_second_interrupt_ends_with_the_same_code():
    waits = WAITS.replace('print("unwound"', 'time.sleep(60); print("unwound"')
    with subprocess.Popen(
        [sys.executable, "-c", waits], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert "Traceback" not in process.stderr.read()
