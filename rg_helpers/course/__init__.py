"""The course itself: running notebooks, reporting runs, keeping the ledger of claims."""
