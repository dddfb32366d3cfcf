"""Keys of the YAML that were called otherwise before."""

RENAMED = {
    "recommendations": "list_length",
    "rules.most_per_category": "rules.max_per_category",
    "models.recency_power": "recency_power of each strategy, such as models.hybrid.recency_power",
    "models.dropout": "models.ease.dropout, models.l3ae.dropout and models.hybrid.dropout",
    "models.recent_days": "models.recent.days",
    "models.knn_neighbours": "models.item_knn.neighbours",
    "models.knn_shrinkage": "models.item_knn.shrinkage",
    "models.als_factors": "models.als.factors",
    "models.als_regularisation": "models.als.regularisation",
    "models.als_confidence": "models.als.confidence",
    "models.ease_regularisation": "models.ease.regularisation",
    "models.hybrid_regularisation": "models.hybrid.regularisation and models.l3ae.regularisation",
    "models.semantic_share": "models.hybrid.semantic_share and models.l3ae.semantic_share",
    "models.semantic_regularisation": "models.hybrid.semantic_regularisation and "
    "models.l3ae.semantic_regularisation",
    "models.user_weighting": "models.hybrid.user_weighting and models.l3ae.user_weighting",
    "models.item_weighting": "models.hybrid.item_weighting and models.l3ae.item_weighting",
    "models.hybrid_gfcf_weight": "models.hybrid.gfcf_weight",
    "models.hybrid_popularity_weight": "models.hybrid.popularity_weight",
    "models.cold_boost": "models.hybrid.cold_boost",
}
"""The path of a key of before → what it is called now."""
