"""Train a :class:`TunedModel` with the Hugging Face Trainer.

The Trainer keeps its loop, optimizer, schedule, clipping and early stopping. skn overrides the order of the rows
(:mod:`skn.training.row_order`), loss and gradients (:mod:`skn.training.steps`), evaluation (with the engine of the other stages)
and checkpoints (:mod:`skn.training.checkpoints`).
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from skn import progress
from skn.errors import InputError, SknError
from skn.inference.batches import Encoded, collate
from skn.inference.engine import choose_engine, predict
from skn.inference.measures import accuracy, majority
from skn.model.pretrained import quiet_transformers
from skn.model.tuned import TunedModel
from skn.training import checkpoints
from skn.training.losses import Part
from skn.training.outcome import TrainResult
from skn.training.row_order import LengthWindows
from skn.training.settings import TrainSettings
from skn.training.shown import Shown
from skn.training.steps import Steps
from skn.training.together import own_seat

log = logging.getLogger(__name__)


def planned_steps(rows: int, settings: TrainSettings) -> int:
    """Return the number of optimizer steps of the whole training."""
    return -(-rows // settings.batch_size) * settings.epochs


def check_plan(rows: int, settings: TrainSettings) -> None:
    """Refuse a training without any evaluation, because it would keep no checkpoint."""
    steps = planned_steps(rows, settings)
    if settings.epochs and settings.eval_every > steps:
        raise InputError(
            f"--eval-every {settings.eval_every}: only {steps} steps are planned, no evaluation would happen; "
            f"lower it or raise --epochs"
        )


def tune(
    model: TunedModel, train: Encoded, validation: Encoded, settings: TrainSettings, folder: Path, resume: bool
) -> TrainResult:
    """Train, keep the tuned tensors with the best validation accuracy in ``model``, and return how the training went.

    ``folder`` holds the checkpoints. With ``resume``, training goes on from the newest complete checkpoint. With no
    epochs, or a prompt of the mask alone, there is nothing to train, and the model is evaluated as it is.
    """
    check_plan(len(train), settings)
    engine = choose_engine(model.backbone)
    known = {"examples": len(validation), "majority": majority(validation.label)}
    if settings.epochs == 0 or not any(p.requires_grad and p.numel() for p in model.parameters()):
        start = accuracy(predict(model, validation, engine=engine), validation.label)
        return TrainResult(best_accuracy=start, best_step=0, history=[], planned_steps=0, engine=engine, **known)
    trainer = _TuneTrainer(model, train, validation, settings, folder=folder, engine=engine)
    checkpoint = checkpoints.newest(folder) if resume else None
    planned = planned_steps(len(train), settings)
    # transformers would remark that the best model is not loaded at the end; this function loads it.
    with quiet_transformers(), closing(trainer.steps), progress.steps(planned, "tune") as steps:
        trainer.add_callback(Shown(steps, "tune", len(validation), loss=lambda: trainer.batch_loss.item()))
        if checkpoint is None:
            trainer.train()
        else:
            log.info("resuming from %s", checkpoint.name)
            if trainer.restore(checkpoint):
                trainer.train(resume_from_checkpoint=str(checkpoint))
    model.load_tuned(trainer.best.tensors)
    history = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry or "loss" in entry]
    best = {"best_accuracy": trainer.best.accuracy, "best_step": trainer.best.step}
    return TrainResult(**best, history=history, planned_steps=planned, engine=trainer.engine, **known)


class _Rows(Dataset):
    """Row numbers. The collator turns a list of row numbers into a batch."""

    def __init__(self, encoded: Encoded):
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, row: int) -> int:
        return row


@dataclass
class _Best:
    """The best tuned tensors so far. Of equal accuracies, the earlier step stays."""

    accuracy: float = -1.0
    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, value: float, step: int, model: TunedModel) -> None:
        if value > self.accuracy:
            self.accuracy, self.step, self.tensors = value, step, model.tuned_tensors()


class _Flow(TrainerCallback):
    """Evaluate also after the last step, and write a checkpoint after every evaluation."""

    def __init__(self, sampler: LengthWindows):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **_):
        self.sampler.epoch = state.global_step // len(self.sampler)

    def on_step_end(self, args, state, control, **_):
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_log = True

    def on_evaluate(self, args, state, control, **_):
        control.should_save = True


class _TuneTrainer(Trainer):
    def __init__(
        self,
        model: TunedModel,
        train: Encoded,
        validation: Encoded,
        settings: TrainSettings,
        folder: Path,
        engine: str,
    ):
        on_cpu = model.backbone.device.type == "cpu"
        arguments = TrainingArguments(
            output_dir=str(folder),
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.lr,
            warmup_steps=settings.warmup,
            weight_decay=0.0,
            max_grad_norm=1.0,
            adam_beta2=0.98,  # Adam's β₂ and ε as in the original code
            adam_epsilon=1e-6,
            eval_strategy="steps",
            eval_steps=settings.eval_every,
            logging_steps=settings.eval_every,
            save_strategy="no",  # _Flow asks for a checkpoint after each evaluation
            metric_for_best_model="eval_accuracy",
            greater_is_better=True,
            use_cpu=on_cpu,
            optim="adamw_torch" if on_cpu else "adamw_torch_fused",  # few launches
            logging_nan_inf_filter=on_cpu,  # it waits for the device at every step; an evaluation finds a NaN, too
            seed=settings.seed,
            report_to=[],
            disable_tqdm=True,
        )
        arguments._n_gpu = 1  # one process, one device: the Trainer must not wrap the model in DataParallel
        self.folder, self.validation, self.engine = folder, validation, engine
        self.best, self.steps, self.autocast = _Best(), Steps(), settings.autocast
        self.sampler = LengthWindows(train, settings.batch_size, settings.seed)
        self.stopper = EarlyStoppingCallback(settings.patience)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_Rows(train),
            eval_dataset=_Rows(validation),
            callbacks=[_Flow(self.sampler), self.stopper],
        )
        self.remove_callback(PrinterCallback)

    def get_train_dataloader(self) -> DataLoader:
        encoded = self.train_dataset.encoded

        def batch(rows: list[int]) -> dict[str, Tensor]:
            collated = collate(encoded, rows)
            types = {} if collated.token_type_ids is None else {"token_type_ids": collated.token_type_ids}
            return {
                "input_ids": collated.input_ids,
                "attention_mask": collated.attention_mask,
                "labels": collated.label,
                **types,
            }

        return DataLoader(self.train_dataset, batch_sampler=self.sampler, collate_fn=batch)

    def training_step(self, model: TunedModel, inputs: dict[str, Tensor], *_args, **_kwargs) -> Tensor:
        """Compute loss and gradients of a batch, in one forward with other trainings if there are any.

        Keeps the loss for readers.
        """
        there = {name: tensor.to(self.args.device, non_blocking=True) for name, tensor in inputs.items()}
        part = Part(model, **there, autocast=self.autocast)
        if (seat := own_seat()) is None:
            (self.batch_loss,) = self.steps.losses([part])
        else:
            self.batch_loss = seat.step(part)
        return self.batch_loss

    def get_decay_parameter_names(self, model: TunedModel) -> list[str]:
        """Return all names.

        No parameter decays, and with a single group a checkpoint numbers the parameters as the model does.
        """
        return [name for name, _ in model.named_parameters()]

    def evaluate(self, *_args, **_kwargs) -> dict[str, float]:
        logits = predict(self.model, self.validation, description="validate", engine=self.engine)
        if logits.isnan().any():
            raise SknError(
                f"training diverged: NaN at step {self.state.global_step}; lower --lr or use --dtype float32"
            )
        value = accuracy(logits, self.validation.label)
        self.best.offer(value, self.state.global_step, self.model)
        metrics = {"eval_accuracy": value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    # ---- checkpoints -----------------------------------------------------------------------------------------

    def restore(self, checkpoint: Path) -> bool:
        """Restore the best tensors and the early-stopping count. Returns False if that training was complete."""
        tensors, progress = checkpoints.read(checkpoint)
        self.best = _Best(progress["best_accuracy"], progress["best_step"], _with_prefix(tensors, "best."))
        self.stopper.early_stopping_patience_counter = progress["early_stopping_counter"]
        before = progress.get("engine", "hf")  # older versions had no choice
        if progress["finished"]:
            self.engine = before
            self.state = TrainerState.load_from_json(str(checkpoint / checkpoints.STATE))
        elif before != self.engine:
            log.warning(
                "%s: the engine %s made the evaluations so far, %s makes the later ones; their accuracies can differ by "
                "examples whose class scores are equal up to float error",
                checkpoint.name,
                before,
                self.engine,
            )
        return not progress["finished"]

    def _save_checkpoint(self, model, trial) -> None:
        tensors = {f"tuned.{name}": t for name, t in self.model.tuned_tensors().items()}
        tensors |= {f"best.{name}": t for name, t in self.best.tensors.items()}
        tensors |= checkpoints.pack_optimizer(self.optimizer) | checkpoints.pack_random()
        progress = {
            "scheduler": self.lr_scheduler.state_dict(),
            "best_accuracy": self.best.accuracy,
            "best_step": self.best.step,
            "early_stopping_counter": self.stopper.early_stopping_patience_counter,
            "finished": self.control.should_training_stop,
            "engine": self.engine,
        }
        checkpoints.write(self.folder, self.state.global_step, tensors, progress, asdict(self.state))

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        tensors, _ = checkpoints.read(Path(resume_from_checkpoint))
        self.model.load_tuned(_with_prefix(tensors, "tuned."))

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        if checkpoint is not None:
            tensors, progress = checkpoints.read(Path(checkpoint))
            checkpoints.unpack_optimizer(self.optimizer, tensors)
            self.lr_scheduler.load_state_dict(progress["scheduler"])
            for group, lr in zip(self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True):
                group["lr"] = lr  # because the scheduler sets it only after a step

    def _load_rng_state(self, checkpoint) -> None:
        if checkpoint is not None:
            checkpoints.unpack_random(checkpoints.read(Path(checkpoint))[0])


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
