"""The server's own routes; OpenAI's come from vLLM."""
