"""Stan: hand-written models, compiled with the headers, stanc and solvers that httpstan carries.

The compiler may use everything that this processor has, and no range checks, as BridgeStan's
fastest settings do. Calls go straight into the compiled model.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import httpstan
import numpy as np
from cases import AMOUNT, INTERVAL, SIGMA, TROUGHS, pieces
from serve import serve

HERE = Path(__file__).parent
STAN = Path(httpstan.__file__).parent
FLAGS = [
    *("-std=c++17", "-O3", "-march=native", "-w", "-fPIC", "-shared", "-D_REENTRANT"),
    *("-DBOOST_DISABLE_ASSERTS", "-DBOOST_PHOENIX_NO_VARIADIC_EXPRESSION"),
    *("-D_GLIBCXX_USE_CXX11_ABI=0", "-DSTAN_NO_RANGE_CHECKS"),
]
LIBRARIES = ["-lsundials_cvodes", "-lsundials_idas", "-lsundials_nvecserial", "-ltbb"]


def translated(name, bridges):
    """The model in C++. stanc leaves a file beside its input, so it is given a copy."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(HERE / f"{name}.stan", folder)
        command = [STAN / "stanc", "--O1", "--name", f"model_{name}", "--print-cpp", f"{name}.stan"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return done.stdout + "".join((HERE / bridge).read_text() for bridge in bridges)


@cache
def library(name, bridges=("bridge.cpp",)):
    """The compiled model, made anew only when its source changes."""
    code = translated(name, bridges)
    digest = hashlib.sha256((code + " ".join(FLAGS) + httpstan.__version__).encode())
    target = HERE / "build" / f"{name}_{digest.hexdigest()[:16]}.so"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder) / f"{name}.cpp", Path(folder) / "made.so"
            source.write_text(code)
            link = [f"-L{STAN / 'lib'}", f"-Wl,-rpath,{STAN / 'lib'}", *LIBRARIES]
            include = f"-I{STAN / 'include'}"
            subprocess.run(["g++", *FLAGS, include, source, "-o", made, *link], check=True)
            target.write_bytes(made.read_bytes())
    found = ctypes.CDLL(str(target))
    found.make_model.restype = ctypes.c_void_p
    return found


class Model:
    """One model with its data."""

    def __init__(self, name, data, bridges=("bridge.cpp",)):
        self.library = library(name, bridges)
        self.message = ctypes.create_string_buffer(500)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({key: _plain(value) for key, value in data.items()}, file)
            file.flush()
            self.pointer = ctypes.c_void_p(
                self.library.make_model(file.name.encode(), *self._errors())
            )
        if not self.pointer:
            raise RuntimeError(self.message.value.decode())

    def __del__(self):
        if getattr(self, "pointer", None):
            self.library.free_model(self.pointer)

    def _errors(self):
        return self.message, ctypes.c_size_t(len(self.message))

    def _call(self, function, *arguments):
        if function(self.pointer, *arguments, *self._errors()):
            raise RuntimeError(self.message.value.decode())

    def density(self, theta, times):
        value, gradient = ctypes.c_double(), np.empty(theta.size)
        self._call(
            self.library.density, doubles(theta), times, ctypes.byref(value), doubles(gradient)
        )
        return value.value, gradient

    def concentrations(self, theta, count):
        found = np.empty(theta.size + count)
        self._call(
            self.library.transformed, doubles(theta), ctypes.c_size_t(len(found)), doubles(found)
        )
        return found[theta.size :]


def doubles(array):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def data_of(case, options):
    """Name of the Stan model and its data."""
    n = case.patients
    common = {"N": n, "K": n * TROUGHS, "log_y": np.log(case.y).ravel(), "sigma": SIGMA}
    patient = np.repeat(np.arange(1, n + 1), TROUGHS)
    last = np.take_along_axis(case.dose_times, case.doses - 1, axis=1)
    common |= {"amount": AMOUNT, "duration": case.duration}
    form = options["form"]
    if form == "series":
        since = (case.times - last).ravel()
        return "linear_series", common | {
            "id": patient, "since": since, "doses": case.doses.ravel() * 1.0, "tau": INTERVAL,
        }  # fmt: skip
    if form == "sum":
        counts = case.doses.ravel()
        first = np.concatenate([[0], np.cumsum(counts)]) + 1
        since = [
            case.times[i, k] - case.dose_times[i, : case.doses[i, k]]
            for i in range(n)
            for k in range(TROUGHS)
        ]
        since = np.concatenate(since)
        return "linear_sum", common | {
            "P": len(since), "id": patient, "first": first, "since": since,
        }  # fmt: skip
    if form == "steps":
        return "linear_steps", common | _steps(case)
    start, end, bolus, infusion, seen = pieces(case)
    number = np.where(seen >= 0, seen + 1 + TROUGHS * np.arange(n)[:, None], 0)
    return "michaelis_menten", common | {
        "E": start.size, "first": start.shape[1] * np.arange(n + 1) + 1,
        "observation": number.ravel(), "start": start.ravel(), "end": end.ravel(),
        "bolus": bolus.ravel(), "infusion": infusion.ravel(),
        "tolerance": options["tolerance"], "stiff": int(form == "bdf"),
    }  # fmt: skip


def _steps(case):
    n, doses = case.dose_times.shape
    time = np.hstack([case.dose_times, case.times])
    what = np.hstack([np.zeros((n, doses), int), np.arange(1, n * TROUGHS + 1).reshape(n, TROUGHS)])
    order = np.argsort(time, axis=1, kind="stable")
    time, what = np.take_along_axis(time, order, 1), np.take_along_axis(what, order, 1)
    return {
        "E": time.size,
        "first": time.shape[1] * np.arange(n + 1) + 1,
        "observation": what.ravel(),
        "elapsed": np.diff(time, axis=1, prepend=time[:, :1]).ravel(),
    }


def load(case, options):
    name, data = data_of(case, options)
    model = Model(name, data)
    theta = np.ascontiguousarray(case.theta.T.ravel())

    def check():
        found = model.concentrations(theta, case.y.size).reshape(case.y.shape)
        return found, model.density(theta, 1)[1].reshape(case.theta.T.shape).T

    return {"density": lambda times: model.density(theta, times)}, check


if __name__ == "__main__":
    serve(load, "httpstan")
