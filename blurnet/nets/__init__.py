"""Classifiers: images in [0, 1] in, logits out."""

from blurnet.nets.gtsrb_cnn import GtsrbCNN
from blurnet.nets.image_size import image_size
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from blurnet.nets.resnet_32 import ResNet32
from blurnet.nets.vision import Logits, count_parameters, timm_net, torchvision_net
