"""The deciding half of aion: given events and commands, it says what happens. No I/O, clocks, threads or randomness."""
