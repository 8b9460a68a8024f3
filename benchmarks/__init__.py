"""Our engines beside what people use today: same weights, same prompts, same token counts."""
