"""Ask a model through the gateway, plain and streamed, and see what it cost.

python -m examples.llm.chat "What is a ledger?"
"""

import os
import sys

from openai import OpenAI


def main(question: str) -> None:
    """Print two answers, and what the first one cost."""
    address = f"{os.environ['CREDIT_SDK_URL']}/api/v1/llm"
    with OpenAI(base_url=address, api_key=os.environ["SESSION_TOKEN"]) as client:
        plain = client.chat.completions.with_raw_response.create(
            model="auto",
            messages=[{"role": "user", "content": question}],
            extra_body={"power_level": "eco", "task_type": "example"},
        )
        print(plain.parse().choices[0].message.content)
        print(f"{plain.headers['x-cost-incurred']} credits, {plain.headers['x-credits-remaining']} are left")
        with client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}], stream=True
        ) as stream:
            for chunk in stream:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "What is a ledger?")
