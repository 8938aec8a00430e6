"""The store: knows nothing of gradio or torch. Empty until votes are collected."""
