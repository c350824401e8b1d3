"""Automated machine learning: the names of `azure.ai.ml.automl`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    BlockedTransformers ClassificationJob ClassificationModels ClassificationMultilabelPrimaryMetrics ClassificationPrimaryMetrics
    ColumnTransformer FeaturizationMode ForecastHorizonMode ForecastingJob ForecastingModels ForecastingPrimaryMetrics
    ForecastingSettings ImageClassificationJob ImageClassificationMultilabelJob ImageClassificationSearchSpace
    ImageInstanceSegmentationJob ImageLimitSettings ImageModelSettingsClassification ImageModelSettingsObjectDetection
    ImageObjectDetectionJob ImageObjectDetectionSearchSpace ImageSweepSettings InstanceSegmentationPrimaryMetrics
    LearningRateScheduler LogTrainingMetrics LogValidationLoss NCrossValidationsMode NlpFeaturizationSettings NlpFixedParameters
    NlpLimitSettings NlpSearchSpace NlpSweepSettings ObjectDetectionPrimaryMetrics RegressionJob RegressionModels
    RegressionPrimaryMetrics SamplingAlgorithmType SearchSpace ShortSeriesHandlingConfiguration StackEnsembleSettings
    StochasticOptimizer TabularFeaturizationSettings TabularLimitSettings TargetAggregationFunction TargetLagsMode
    TargetRollingWindowSizeMode TextClassificationJob TextClassificationMultilabelJob TextNerJob TrainingSettings UseStl
    ValidationMetricType classification forecasting image_classification image_classification_multilabel image_instance_segmentation
    image_object_detection regression text_classification text_classification_multilabel text_ner
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
