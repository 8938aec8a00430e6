"""The store: knows nothing of gradio or torch. docs/store.md says what it keeps and how."""
