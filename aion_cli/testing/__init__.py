"""The test kit: workflows run in memory, with fakes for activities and time that skips."""
