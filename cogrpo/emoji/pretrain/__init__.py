"""Training the embedded world from scratch on a CPU: `python -m cogrpo.emoji.pretrain {tokenizer|detector|model}`."""
