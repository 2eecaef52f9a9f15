"""Rows in the exact layouts of public files of battles; the texts are our own."""

from __future__ import annotations

from typing import Any

MARKDOWN = "# Rivers\n\n1. The **Loire**\n2. The **Rhône**\n\n- long\n- wide"
PLAIN = "The Loire is the longest river of France."


def arena_140k(n: int = 0, **change: Any) -> dict[str, Any]:
    """lmarena-ai/arena-human-preference-140k."""

    def said(answer: str) -> list[dict[str, Any]]:
        def part(text: str) -> list[dict[str, Any]]:
            return [{"type": "text", "text": text, "image": None, "mimeType": None}]

        return [
            {"role": "user", "content": part(f"Name rivers of France ({n}).")},
            {"role": "assistant", "content": part(answer)},
        ]

    return {
        "id": f"c4b9710c-8d64-4bee-a0b0-{n:012d}",
        "model_a": "alpha-1",
        "model_b": "beta-2",
        "winner": "model_a",
        "evaluation_session_id": f"a333a685-{n // 2}",
        "evaluation_order": n % 2 + 1,
        "conversation_a": said(MARKDOWN),
        "conversation_b": said(PLAIN),
        "full_conversation": [
            {"user": said("")[0], "model_side_a": said(MARKDOWN)[1], "model_side_b": said(PLAIN)[1]}
        ],
        "conv_metadata": {
            "sum_assistant_a_tokens": 31,
            "header_count_a": {"h1": 1, "h2": 0, "h3": 2, "h4": 0, "h5": 0, "h6": 0},
            "list_count_a": {"ordered": 2, "unordered": 2},
            "bold_count_a": {"**": 2, "__": 1},
            "context_a_tokens": 9,
            "sum_assistant_b_tokens": 10,
            "header_count_b": {"h1": 0, "h2": 0, "h3": 0, "h4": 0, "h5": 0, "h6": 0},
            "list_count_b": {"ordered": 0, "unordered": 0},
            "bold_count_b": {"**": 0, "__": 0},
            "context_b_tokens": 9,
            "sum_user_tokens": 9,
            "turns": 1,
        },
        "category_tag": {
            "creative_writing_v0.1": {"creative_writing": False, "score": "no"},
            "criteria_v0.1": {
                "complexity": True, "creativity": False, "domain_knowledge": True,
                "problem_solving": True, "real_world": True, "specificity": True,
                "technical_accuracy": True,
            },
            "if_v0.1": {"if": True, "score": 4},
            "math_v0.1": {"math": False},
        },
        "language": "en",
        "is_code": True,
        "timestamp": "2025-05-29T14:48:41.602925",
        **change,
    }  # fmt: skip


def arena_100k(n: int = 0, **change: Any) -> dict[str, Any]:
    """lmarena-ai/arena-human-preference-100k."""
    row = arena_140k(n)
    return {
        "question_id": f"{n:032x}",
        "model_a": "alpha-1",
        "model_b": "beta-2",
        "winner": "tie (bothbad)",
        "conversation_a": [
            {"role": "user", "content": "Name rivers of France.", "num_tokens": 9},
            {"role": "assistant", "content": MARKDOWN, "num_tokens": 31},
            {"role": "user", "content": "More.", "num_tokens": 2},
            {"role": "assistant", "content": "The Seine.", "num_tokens": 4},
        ],
        "conversation_b": [
            {"role": "user", "content": "Name rivers of France.", "num_tokens": 9},
            {"role": "assistant", "content": PLAIN, "num_tokens": 10},
        ],
        "turn": 2,
        "anony": True,
        "language": "English",
        "tstamp": 1718394213.4,
        "conv_metadata": row["conv_metadata"],
        "is_code": False,
        "is_refusal": False,
        "dedup_tag": {"high_freq": False, "sampled": True},
        "category_tag": {**row["category_tag"], "math_v0.1": {"math": True}},
        "judge_hash": "6f1c",
        **change,
    }


def arena_33k(n: int = 0, **change: Any) -> dict[str, Any]:
    """lmsys/chatbot_arena_conversations."""
    return {
        "question_id": f"{n:032x}",
        "model_a": "alpha-1",
        "model_b": "beta-2",
        "winner": "model_b",
        "judge": f"arena_user_{n}",
        "conversation_a": [
            {"content": "Name rivers of France.", "role": "user"},
            {"content": PLAIN, "role": "assistant"},
        ],
        "conversation_b": [
            {"content": "Name rivers of France.", "role": "user"},
            {"content": MARKDOWN, "role": "assistant"},
        ],
        "turn": 1,
        "anony": True,
        "language": "English",
        "tstamp": 1682351591.1,
        "openai_moderation": {"categories": {"hate": False}, "flagged": False},
        "toxic_chat_tag": {"roberta-large": {"flagged": False, "probability": 0.01}},
        **change,
    }


def mt_bench_votes(n: int = 0, **change: Any) -> dict[str, Any]:
    """lmsys/mt_bench_human_judgments."""
    row = arena_33k(n)
    for name in ("anony", "language", "tstamp", "openai_moderation", "toxic_chat_tag"):
        del row[name]
    return {**row, "question_id": 81 + n, "judge": "expert_17", **change}


def arena_55k(n: int = 0, **change: Any) -> dict[str, Any]:
    """lmsys/lmsys-arena-human-preference-55k (train.csv)."""
    return {
        "id": str(30192 + n),
        "model_a": "alpha-1",
        "model_b": "beta-2",
        "prompt": '["Name rivers of France.", "More."]',
        "response_a": '["The Loire.\\nThe Seine.", null]',
        "response_b": '["**Loire**", "**Rh\\u00f4ne**"]',
        "winner_model_a": "0",
        "winner_model_b": "1",
        "winner_tie": "0",
        **change,
    }


def mt_bench_pair(n: int = 0, **change: Any) -> dict[str, Any]:
    """FastChat: mt_bench/model_judgment/gpt-4_pair.jsonl."""

    def shown(a: str, b: str) -> str:
        return (
            "[User Question]\nName rivers of France.\n\n[The Start of Assistant A's Answer]\n"
            f"{a}\n[The End of Assistant A's Answer]\n\n[The Start of Assistant B's Answer]\n{b}\n"
            "[The End of Assistant B's Answer]"
        )

    return {
        "question_id": 81 + n,
        "model_1": "alpha-1",
        "model_2": "beta-2",
        "g1_winner": "model_1",
        "g2_winner": "tie",
        "judge": ["gpt-4", "pair-v2"],
        "g1_user_prompt": shown(MARKDOWN, PLAIN),
        "g1_judgment": "Assistant A is better. [[A]]",
        "g2_user_prompt": shown(PLAIN, MARKDOWN),
        "g2_judgment": "A tie. [[C]]",
        "turn": 1,
        "tstamp": 1686723312.8,
        **change,
    }  # fmt: skip


def two_turns(a: tuple[str, str], b: tuple[str, str]) -> str:
    """FastChat's template pair-v2-multi-turn."""

    def side(name: str, answers: tuple[str, str]) -> str:
        start = f"<|The Start of Assistant {name}'s Conversation with User|>\n\n"
        turns = "\n\n".join(
            f"### User:\n{question}\n\n### Assistant {name}:\n{answer}"
            for question, answer in zip(("Name rivers.", "More."), answers, strict=True)
        )
        return f"{start}{turns}\n\n<|The End of Assistant {name}'s Conversation with User|>"

    return side("A", a) + "\n\n\n" + side("B", b)  # fmt: skip


def arena_hard_v1(n: int = 0, **change: Any) -> dict[str, Any]:
    """arena-hard-auto 0.1: model_judgment/gpt-4-1106-preview/beta-2.jsonl."""

    def shown(a: str, b: str) -> str:
        return (
            "<|User Prompt|>\nName rivers of France.\n\n<|The Start of Assistant A's Answer|>\n"
            f"{a}\n<|The End of Assistant A's Answer|>\n\n<|The Start of Assistant B's Answer|>\n"
            f"{b}\n<|The End of Assistant B's Answer|>"
        )

    return {
        "question_id": f"{n:032x}",
        "model": "beta-2",
        "judge": "gpt-4-1106-preview",
        "games": [
            {"user_prompt": shown(PLAIN, MARKDOWN), "judgment": "… [[B>>A]]", "score": "B>>A"},
            {"user_prompt": shown(MARKDOWN, PLAIN), "judgment": "… [[A=B]]", "score": "A=B"},
        ],
        **change,
    }  # fmt: skip


def arena_hard_v2(n: int = 0, **change: Any) -> dict[str, Any]:
    """arena-hard-auto 2.0: arena-hard-v2.0/model_judgment/gpt-4.1/beta-2.jsonl."""
    old = arena_hard_v1(n)
    games = [
        {
            "score": game["score"],
            "judgment": {"answer": game["judgment"]},
            "prompt": [
                {"role": "system", "content": "Please act as an impartial judge."},
                {"role": "user", "content": game["user_prompt"]},
            ],
        }
        for game in old["games"]
    ]
    return {
        "uid": f"{n:016x}",
        "category": "hard_prompt",
        "judge": "gpt-4.1",
        "model": "beta-2",
        "baseline": "o3-mini-2025-01-31",
        "games": games,
        **change,
    }


def alpaca_eval(n: int = 0, **change: Any) -> dict[str, Any]:
    """alpaca_eval: results/beta-2/weighted_alpaca_eval_gpt4_turbo/annotations.json."""
    return {
        "instruction": f"Name rivers of France ({n}).",
        "output_1": PLAIN,
        "generator_1": "gpt4_1106_preview",
        "dataset": "helpful_base",
        "output_2": MARKDOWN,
        "generator_2": "beta-2",
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
        "preference": 1.75,
        "price_per_example": 0.00846,
        "time_per_example": 0.1679103281,
        "raw_completion": {"finish_reason": "length", "text": "M"},
        **change,
    }
