"""What the steps compute for each `config.task`; `config/tasks.py` names the scores."""
