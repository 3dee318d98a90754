"""What the columns of tables with texts are called elsewhere."""

USUAL_NAMES = {
    "text": (
        "sentence",
        "review",
        "comment",
        "content",
        "message",
        "tweet",
        "document",
        "body",
        "utterance",
        "question",
    ),
    "label": ("category", "target", "class", "sentiment", "intent", "topic", "labels", "tag", "y"),
}
"""Other names of the columns ``text`` and ``label``, in small letters, the most usual first."""
