"""An OpenAI client whose calls are paid in credits."""
