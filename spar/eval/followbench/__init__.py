"""FollowBench: 820 instructions of growing difficulty, scored by rules and by a judge."""
