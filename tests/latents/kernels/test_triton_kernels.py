"""The triton backend without a GPU: its programs in Triton's interpreter, and compiled for sm_90.

The interpreter must be chosen before triton is first imported, so this file runs itself in a
process of its own; a few statements of numpy stand for each instruction, hence the tiny sizes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("triton", reason="the extra `triton` is not installed")

import torch

from modeldiff_harness.errors import UsageError

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
FLOATS = [torch.float64, torch.float32]

if INTERPRETED:
    from modeldiff_harness.latents.kernels import LossLayout, reference, triton_cuda
    from modeldiff_harness.latents.kernels.choose import backend_for
    from modeldiff_harness.testing import kernels as checks

    @pytest.fixture(autouse=True)
    def _several_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
        """Small tiles, so that small sizes have several, the last one not full."""
        monkeypatch.setattr(triton_cuda, "_STRIP", 8)
        monkeypatch.setattr(triton_cuda, "_STRIP_ENTRIES", 4)
        monkeypatch.setattr(triton_cuda, "_TILE", 8)
        monkeypatch.setattr(triton_cuda, "_BLOCK_COLUMNS", 16)
        monkeypatch.setattr(triton_cuda, "_LEAST_ROOM", 1)  # the second reading is the usual case

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("n_tokens", "n_latents"), [(17, 37), (8, 16), (1, 1), (0, 5)])
    def test_compaction(n_tokens: int, n_latents: int, dtype: torch.dtype) -> None:
        checks.check_compaction(
            triton_cuda, "cpu", n_tokens=n_tokens, n_latents=n_latents, dtype=dtype
        )

    @pytest.mark.parametrize("bound", [1e-30, 0.5, 1e30])
    def test_compaction_makes_room_for_whatever_reaches_the_bound(bound: float) -> None:
        checks.check_compaction(triton_cuda, "cpu", n_tokens=20, n_latents=50, bound=bound)

    @pytest.mark.parametrize("low_precision", [False, True])
    @pytest.mark.parametrize(
        ("n_tokens", "n_latents", "n_keep", "chunk_numbers"),
        [(21, 40, 90, None), (13, 29, 60, 100), (5, 11, 1000, 7), (3, 4, 0, None), (0, 6, 0, 3)],
    )
    def test_selection(
        n_tokens: int, n_latents: int, n_keep: int, chunk_numbers: int | None, low_precision: bool
    ) -> None:
        checks.check_selection(
            triton_cuda,
            "cpu",
            n_tokens=n_tokens,
            n_latents=n_latents,
            n_keep=n_keep,
            chunk_numbers=chunk_numbers,
            low_precision=low_precision,
        )

    def test_rounded_rows_carry_their_norms() -> None:
        rows_JC, bias_J = torch.randn(5, 19), torch.randn(5)
        low_JC, norm_J = triton_cuda.rounded_rows(rows_JC, bias_J)
        # the interpreter cuts digits off where a GPU rounds to nearest
        torch.testing.assert_close(low_JC.float(), rows_JC, rtol=2**-7, atol=0)
        torch.testing.assert_close(norm_J, torch.cat([rows_JC, bias_J[:, None]], 1).norm(dim=1))

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(
        ("columns", "pairs"),
        [
            (14, []),
            (14, [(0, 7, 7)]),
            (15, [(0, 5, 5), (0, 10, 5), (5, 10, 5)]),
            (21, [(0, 16, 5)]),  # a view of another width between the two
            (32, [(0, 16, 16)]),  # aligned: vector loads on a GPU
            (1, []),
        ],
    )
    def test_decoding(columns: int, pairs: list[tuple[int, int, int]], dtype: torch.dtype) -> None:
        checks.check_decoding(
            triton_cuda, "cpu", columns=columns, pairs=pairs, n_tokens=9, n_latents=13, dtype=dtype
        )

    def test_decoding_an_empty_batch_and_one_without_entries() -> None:
        checks.check_decoding(
            triton_cuda, "cpu", columns=6, pairs=[(0, 3, 3)], n_tokens=0, n_latents=4
        )
        checks.check_decoding(triton_cuda, "cpu", columns=6, n_tokens=3, n_latents=4, k=0)

    def test_pairs_of_views_that_do_not_fit_together_are_refused() -> None:
        support = reference.select(torch.ones(2, 3), torch.ones(3), 2)
        given = (torch.ones(3, 12), torch.zeros(12), torch.ones(2, 12))
        for pairs, problem in (
            ([(0, 3, 4)], "overlap"),
            ([(0, 4, 4), (0, 8, 3)], "width"),
            ([(0, i, 1) for i in range(1, 10)], "more than"),
        ):
            layout = LossLayout(torch.ones(12), torch.ones(12), pairs, 1.0)
            with pytest.raises(ValueError, match=problem):
                triton_cuda.decode_and_pull(support, *given, layout)

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("columns", "n_tokens"), [(19, 12), (3, 1), (8, 0)])
    def test_sums_and_products(columns: int, n_tokens: int, dtype: torch.dtype) -> None:
        checks.check_sums_and_products(
            triton_cuda, "cpu", columns=columns, n_tokens=n_tokens, n_latents=11, dtype=dtype
        )

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("n_extra", [0, 3])
    @pytest.mark.parametrize("widths", [(9, 9), (3, 12, 1), (5,)])
    def test_updates(widths: tuple[int, ...], n_extra: int, dtype: torch.dtype) -> None:
        checks.check_updates(
            triton_cuda,
            "cpu",
            widths=widths,
            n_tokens=6,
            n_latents=14,
            n_extra=n_extra,
            dtype=dtype,
        )

    def test_latents_without_entries_follow_their_moments() -> None:
        checks.check_updates(triton_cuda, "cpu", widths=(4, 4), n_tokens=2, n_latents=30, k=1)
        checks.check_updates(triton_cuda, "cpu", widths=(4,), n_tokens=0, n_latents=3)

    @pytest.mark.parametrize(
        ("widths", "pairs", "steps"),
        [((3, 3), [], 25), ((2, 2, 2), [(0, 1), (0, 2), (1, 2)], 15)],
    )
    def test_training_follows_the_loss_of_plain_torch(
        widths: tuple[int, ...],
        pairs: list[tuple[int, int]],
        steps: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(triton_cuda, "_LEAST_ROOM", 64)
        monkeypatch.setattr(triton_cuda, "_STRIP_ENTRIES", 16)
        checks.check_loss_curve(
            triton_cuda,
            "cpu",
            widths=widths,
            pairs=pairs,
            n_tokens=6,
            n_latents=9,
            k=2,
            steps=steps,
            low_precision=bool(pairs),
        )

    def test_the_interpreter_may_be_asked_for_on_a_cpu() -> None:
        assert backend_for("triton", "cpu") is triton_cuda

else:

    @pytest.mark.slow
    def test_every_program_agrees_in_the_interpreter() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            env=os.environ | {"TRITON_INTERPRET": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]

    POINTERS = {"starts": "*i64", "place_L": "*i64", "first_G": "*i64", "counter_1": "*i64"}
    POINTERS |= {f"{name}_N": "*i64" for name in ("token", "latent", "left", "right")}
    TILE = {"WIDTH": 1024, "ENTRIES": 4}
    BLOCK = {"ROWS": 8, "COLUMNS": 512}
    COMPILED = {
        "compact": BLOCK | {"ROUNDED": False},
        "compact rounded": BLOCK | {"ROUNDED": True},
        "round_row": {"WIDTH": 1024},
        "products": {"WIDTH": 1024},
        "decode_strip": {"VIEWS": 1, "ALIGNED": 16, "WIDTH": 64, "ENTRIES": 32},
        "decode_strip of pairs": {"VIEWS": 4, "ALIGNED": 16, "WIDTH": 16, "ENTRIES": 32},
        "sum_rows": TILE,
        "row_squares": TILE | {"EXTRA": True},
        "update_rows": TILE | {"EXTRA": True, "BIAS": True},
    }

    @pytest.mark.parametrize("name", COMPILED)
    def test_programs_compile_for_an_h100_and_fit_its_registers(
        name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        from modeldiff_harness.latents.kernels import triton_programs

        program = getattr(triton_programs, name.split()[0])
        signature, aligned = {}, {}
        for i, parameter in enumerate(program.params):
            pointer = parameter.name.split("_")[-1].isupper() or parameter.name.endswith(
                ("_1", "_8", "starts")
            )
            kind = POINTERS.get(parameter.name, "*fp32") if pointer else "i32"
            if (name, parameter.name) in (
                ("compact rounded", "score_TJ"),
                ("round_row", "low_JC"),
            ):
                kind = "*bf16"
            signature[parameter.name] = "constexpr" if parameter.is_constexpr else kind
            if not parameter.is_constexpr:
                aligned[(i,)] = [["tt.divisibility", 16]]
        compiled = triton.compile(
            ASTSource(program, signature, COMPILED[name], aligned),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": 8 if "compact" in name else 4},
        )
        ptx = tmp_path / "program.ptx"
        ptx.write_text(compiled.asm["ptx"], "utf-8")
        said = subprocess.run(
            [_ptxas(triton), "-v", "-arch=sm_90a", str(ptx), "-o", str(tmp_path / "program.cubin")],
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        assert " 0 bytes spill stores, 0 bytes spill loads" in said, said
        registers = int(re.search(r"Used (\d+) registers", said)[1])  # type: ignore[index]
        assert registers <= 128, said  # two blocks of eight warps a multiprocessor, or more
        assert compiled.metadata.shared <= 48 * 1024
        assert re.search(r"ld\.global[\w.:]*\.v4", ptx.read_text()), "no 16-byte loads"
        if name == "round_row":
            assert "cvt.rn.bf16" in ptx.read_text()  # to nearest, as the slack of scoring assumes

    def _ptxas(triton: ModuleType) -> str:
        return str(Path(triton.__path__[0]) / "backends/nvidia/bin/ptxas")

    def test_triton_kernels_need_a_cuda_device() -> None:
        from modeldiff_harness.latents.kernels.choose import backend_for

        with pytest.raises(UsageError, match="CUDA device") as error:
            backend_for("triton", "cpu")
        assert "auto" in error.value.hint

    def test_a_cuda_device_without_triton_gets_plain_torch_and_says_so(
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        from modeldiff_harness.latents.kernels import choose

        assert choose.backend_for("auto", "cuda").NAME == "triton"
        monkeypatch.setattr(choose, "_has_triton", lambda: False)
        assert choose.backend_for("auto", "cuda:1").NAME == "reference"
        assert "modeldiff-harness[triton]" in caplog.text
        with pytest.raises(UsageError, match="triton package"):
            choose.backend_for("triton", "cuda")
