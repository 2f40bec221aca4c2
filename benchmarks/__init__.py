"""What the SDK costs, each figure beside what it is compared with, in one run."""
