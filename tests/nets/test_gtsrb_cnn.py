"""The GTSRB-CNN: its sizes."""

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from tests.nets.pictures import X


def test_gtsrb_cnn():
    net, widths = GtsrbCNN(), []
    net.head.register_forward_pre_hook(lambda _m, args: widths.append(args[0].shape[1]))
    assert net(X).shape == (2, 43)
    assert widths == [14_336]
    assert GtsrbCNN(5, dropout=0)(X).shape == (2, 5)
