"""Predictions: any batch size, any mode, always float32."""

import copy

import pytest
import torch

from randprune_core.metrics.predict import predict_logits


class TestPredictLogits:
    def test_uint8_and_float_agree_over_any_batch_size(self, fitted):
        model, images, _ = fitted
        expected = copy.deepcopy(model).eval()(images / 255).detach()
        for given_images in (images, images / 255):
            for batch_size in (7, 500):
                logits = predict_logits(model, given_images, batch_size)
                torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        assert logits.dtype == torch.float32 and not logits.requires_grad

    def test_batch_norm_and_mode_are_left_as_they_were(self, fitted):
        model, images, _ = fitted
        model.train()
        model[1].eval()
        before = copy.deepcopy(model.state_dict())
        predict_logits(model, images)
        assert model.training and model[0].training and not model[1].training
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
        model.train()

    def test_autocast_of_the_caller_does_not_reach_the_logits(self, fitted):
        model, images, _ = fitted
        expected = predict_logits(model, images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(predict_logits(model, images), expected)

    @pytest.mark.parametrize(
        ("images", "batch_size"),
        [
            (torch.full((2, 3, 6, 6), 255.0), 500),
            (torch.full((2, 3, 6, 6), -0.1), 500),
            (torch.zeros(2, 3, 6, 6, dtype=torch.int64), 500),
            (torch.zeros(0, 3, 6, 6), 500),
            (torch.zeros(2, 3, 6, 6), 0),
        ],
    )
    def test_bad_input_is_refused(self, fitted, images, batch_size):
        with pytest.raises(ValueError):
            predict_logits(fitted[0], images, batch_size)
