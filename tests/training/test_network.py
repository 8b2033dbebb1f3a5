import pytest
import torch
from harness import Average
from torch import nn

from musicemo.data import HeadSettings, Task
from musicemo.errors import InputError
from musicemo.training import Network

VALENCE = Task("valence", "valence", "regression")
GENRE = Task("genre", "genre", "classification", classes=("folk", "jazz", "rock"), merged={})


def network(tasks=(VALENCE, GENRE), size=5, **head):
    torch.manual_seed(0)
    return Network(
        Average(input_size=size), tasks, dict.fromkeys([t.name for t in tasks], HeadSettings(**head))
    )


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("head", [{}, {"hidden": []}, {"hidden": [4, 3], "output": "sigmoid"}])
def test_ratings_have_one_axis_and_logits_two(batch, head):
    x = torch.randn(batch, 3, 5)
    embedding, predictions = network(**head)(x, torch.full((batch,), 3))
    assert embedding.shape == (batch, 5)
    assert predictions["valence"].shape == (batch,)
    assert predictions["genre"].shape == (batch, 3)


def test_a_head_is_dense_layers_with_relu_and_dropout_between():
    layers = [type(layer).__name__ for layer in network(hidden=[4, 3], dropout=0.5).heads["genre"]]
    assert layers == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    head = network(hidden=[4], dropout=0.0).heads["valence"].eval()
    x = torch.randn(6, 5)
    expected = torch.relu(x @ head[0].weight.T + head[0].bias) @ head[3].weight.T + head[3].bias
    assert torch.equal(head(x), expected[:, 0])


def test_a_sigmoid_keeps_ratings_in_range_and_leaves_logits_alone():
    net = network(hidden=[], output="sigmoid").eval()
    _, predictions = net(1e3 * torch.randn(50, 2, 5), torch.full((50,), 2))
    assert predictions["valence"].min() >= 0
    assert predictions["valence"].max() <= 1
    assert predictions["genre"].abs().max() > 1


def test_standardized_outputs_begin_at_the_training_ratings():
    ratings = torch.tensor([0.2, 0.4, float("nan"), 0.6])
    plain, net = network(hidden=[]).eval(), network(hidden=[], output="standardized").eval()
    net.fit_outputs({"valence": ratings})
    x, lengths = torch.randn(50, 2, 5), torch.full((50,), 2)
    expected = 0.4 + (0.08 / 3) ** 0.5 * plain(x, lengths)[1]["valence"]
    assert torch.allclose(net(x, lengths)[1]["valence"], expected)
    assert torch.equal(net(x, lengths)[1]["genre"], plain(x, lengths)[1]["genre"])

    other = network(hidden=[], output="standardized").eval()
    other.load(net.state_dict(), "a checkpoint")
    assert torch.equal(other(x, lengths)[1]["valence"], net(x, lengths)[1]["valence"])


@pytest.mark.parametrize("ratings", [[0.3, 0.3], [float("nan")] * 2, []])
def test_ratings_without_a_deviation_leave_outputs_finite(ratings):
    net = network(hidden=[], output="standardized")
    net.fit_outputs({"valence": torch.tensor(ratings)})
    assert net(torch.randn(2, 2, 5), torch.full((2,), 2))[1]["valence"].isfinite().all()


def test_dropout_is_off_in_evaluation():
    net = network(hidden=[20], dropout=0.5)
    x, lengths = torch.randn(4, 3, 5), torch.full((4,), 3)
    assert not torch.equal(net(x, lengths)[1]["valence"], net(x, lengths)[1]["valence"])
    net.eval()
    assert torch.equal(net(x, lengths)[1]["valence"], net(x, lengths)[1]["valence"])


def test_parameters_are_counted_as_long_as_they_are_trained():
    net = network(hidden=[4])
    assert net.parameter_count == (5 * 4 + 4 + 4 + 1) + (5 * 4 + 4 + 4 * 3 + 3)
    net.heads["genre"].requires_grad_(False)
    assert net.parameter_count == 5 * 4 + 4 + 4 + 1


@pytest.mark.parametrize("name", ["pop", "values", "items", "type", "training", "forward", "T", "half"])
def test_a_task_may_have_any_name(name):
    net = network([Task(name, name, "regression")])
    _, predictions = net(torch.randn(2, 3, 5), torch.full((2,), 3))
    assert list(predictions) == [name]
    net.load(net.state_dict(), "itself")
    assert sum(p.numel() for p in net.parameters()) == net.parameter_count > 0


@pytest.mark.parametrize("value", [None, "4", 4.0])
def test_a_model_must_say_how_large_its_embedding_is(value):
    class Silent(nn.Module):
        embedding_size = value

    with pytest.raises(InputError, match="model Silent has no integer attribute embedding_size"):
        Network(Silent(), [VALENCE], {"valence": HeadSettings()})


def test_weights_of_the_same_network_are_loaded():
    first, second = network(), network()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1)
    second.load(first.state_dict(), "a checkpoint")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_weights_of_another_network_are_refused_and_what_differs_is_named():
    net = network(hidden=[4])
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InputError) as caught:
        net.load(network([VALENCE], hidden=[4], size=6).state_dict(), "runs/other/best.pt")
    text = str(caught.value)
    assert text.startswith("runs/other/best.pt: is of another network: it lacks heads.genre.0.weight")
    assert text.endswith("and 2 more")
    with pytest.raises(
        InputError, match=r"has heads.valence.0.weight \[4, 6\] where this network has \[4, 5\]"
    ):
        net.load(network(hidden=[4], size=6).state_dict(), "x")
    with pytest.raises(InputError, match=r"has heads.genre.0.weight, which this network has not"):
        network([VALENCE]).load(network().state_dict(), "x")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("state", [7, None, {}, []])
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(InputError, match=r"best\.pt: is of another network, or damaged: it has no weights"):
        network().load(state, "best.pt")


def test_a_weight_of_another_kind_is_named():
    state = dict(network().state_dict())
    with pytest.raises(
        InputError, match=r"best\.pt: is of another network: it has heads\.valence\.0\.weight an extra"
    ):
        network().load({**state, "heads.valence.0.weight": "text"}, "best.pt")
