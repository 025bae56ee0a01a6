from __future__ import annotations

import warnings

import pytest

from obd.data.simulate import make_env
from obd.errors import ObdError


@pytest.mark.parametrize(("given", "made"), [("Pendulum", "Pendulum-v1"), ("HalfCheetah-v4", "HalfCheetah-v4")])
def test_an_environment_without_version_or_of_an_old_one_is_made_without_a_warning(given: str, made: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make_env(given)
    assert env.spec is not None and env.spec.id == made
    env.close()


@pytest.mark.parametrize("env_id", ["Nothing-v0", "Nothing", "Pendulum-v99", "Nobody/Pong-v5"])
def test_an_environment_that_cannot_be_made_is_one_sentence_with_advice(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ObdError, match=r"cannot make the environment '.*\. Check its name") as caught:
            make_env(env_id)
    assert "\n" not in str(caught.value)
