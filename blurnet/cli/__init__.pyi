from .evaluate import evaluate_main as evaluate_main
from .train import train_main as train_main
