"""What makes catalogs run by themselves: jobs, schedules, sensors, alerts, cleaning up."""
