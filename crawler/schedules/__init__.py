"""Schedules: crawls that begin by a cron line. `times` computes the ticks, `timetable` decides what becomes of each."""
