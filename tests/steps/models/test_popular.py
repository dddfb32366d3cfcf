"""popular: the same for everybody."""

import numpy as np
from making import block_of, contributions, histories
from scipy import sparse

from recsys_dagster.steps.models.popular import PopularModel, popularity


def test_popularity_is_the_share_of_users_who_like_anything():
    positives = sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=np.float32))
    assert popularity(positives).tolist() == [1, 0.5, 0]
    assert popularity(sparse.csr_matrix((3, 2), dtype=np.float32)).tolist() == [0, 0]


def test_popular_says_the_same_to_everybody_and_blames_nobody():
    positives = histories(6, 5)
    model = PopularModel(popularity(positives))
    scores = model.score(block_of(positives))
    assert (scores == scores[0]).all()
    assert not np.concatenate(contributions(model, positives, [0, 0, 3], [1, 2, 2])).any()
