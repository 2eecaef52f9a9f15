"""How many items a task has, without loading it: ours are counted, others are looked up.

The numbers of lm-eval's tasks are those of the split that it scores (test, else validation), as
published with the data sets.
"""

from __future__ import annotations

from modeldiff_harness.benchmarks.tasks import own_tasks_folder

__all__ = ["KNOWN_SIZES", "items_of_task"]

KNOWN_SIZES = {
    "anli_r1": 1_000,
    "anli_r2": 1_000,
    "anli_r3": 1_200,
    "arc_challenge": 1_172,
    "arc_easy": 2_376,
    "bbh": 6_511,
    "boolq": 3_270,
    "commonsense_qa": 1_221,
    "copa": 100,
    "drop": 9_536,
    "gpqa_diamond_zeroshot": 198,
    "gpqa_main_zeroshot": 448,
    "gsm8k": 1_319,
    "gsm8k_cot": 1_319,
    "hellaswag": 10_042,
    "hendrycks_math": 5_000,
    "humaneval": 164,
    "ifeval": 541,
    "lambada_openai": 5_153,
    "logiqa": 651,
    "mathqa": 2_985,
    "mbpp": 500,
    "minerva_math": 5_000,
    "mmlu": 14_042,
    "mmlu_pro": 12_032,
    "openbookqa": 500,
    "piqa": 1_838,
    "race": 1_045,
    "sciq": 1_000,
    "social_iqa": 1_954,
    "squadv2": 11_873,
    "triviaqa": 17_944,
    "truthfulqa_mc1": 817,
    "truthfulqa_mc2": 817,
    "winogrande": 1_267,
    "wsc273": 273,
}


def items_of_task(name: str) -> int | None:
    """Return the number of items of a task, or None when it is not known without loading it."""
    if not name.replace("_", "").isalnum():
        return None
    data = own_tasks_folder() / name / "data.jsonl"
    if data.is_file():
        with data.open("rb") as lines:
            return sum(1 for line in lines if line.strip())
    return KNOWN_SIZES.get(name)
