"""The acting half of aion: files, locks, processes, threads and clocks."""
