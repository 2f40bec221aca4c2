"""The LLM gateway: OpenAI's protocol in front of upstreams that speak it, each call paid in credits."""
