"""Where strangers' code runs: `worker` and `asks` inside, `wire` on both sides, `start` outside."""
