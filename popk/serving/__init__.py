"""The dosing page: one patient at a time, in a browser, from a fit (`popk serve RUN`)."""

try:
    from popk.serving.access import new_token
    from popk.serving.application import application
    from popk.serving.running import Served, serve
    from popk.serving.settings import Question
    from popk.serving.study import Study, study_of
except ModuleNotFoundError as error:
    if error.name not in ("starlette", "uvicorn"):
        raise
    raise ImportError(
        "The dosing page needs Starlette and uvicorn, which are not installed. Install them with "
        'pip install "popk[serve]".'
    ) from None

__all__ = ["Question", "Served", "Study", "application", "new_token", "serve", "study_of"]
