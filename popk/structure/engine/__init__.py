"""What solves the equations: schedules of events, closed forms, ODE solvers, compiled in lanes."""
