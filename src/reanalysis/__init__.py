"""Reanalyse a published meta-analysis: exact, NUTS and REML side by side."""
