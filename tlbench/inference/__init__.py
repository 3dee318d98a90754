"""Trained models in folders of their own: what such a folder holds, and how it answers for new inputs.

Nothing here needs a suite, a workspace, MLflow or Ray.
"""
