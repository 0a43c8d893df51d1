"""What a server of a cluster refuses before it asks Redis."""

from pathlib import Path

import pytest

from chat.cli import parser
from chat.clustering import Clustering
from chat.errors import UsageError
from tests.support.helpers import key


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # Its key, which no other server can have, would stand in Redis for that of the cluster.
        (["--ephemeral"], "--ephemeral does not keep"),
        (["--cluster-ca", "ca.pem"], "for Redis over TLS"),
    ],
)
def test_option_that_does_not_fit_is_refused_before_a_key_is_made(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path)]
    with pytest.raises(UsageError, match=said):
        Clustering(parser().parse_args([*server, *arguments]), key("server").public)
    assert not list(tmp_path.iterdir())
