#include "profiler/model_identity.h"

#include <fmt/format.h>

#include "base/error.h"

namespace hearth::profiler {
namespace {

std::string shape(const ModelIdentity& model) {
  return fmt::format("{} layers, {} experts of which {} are used", model.layers,
                     model.experts_per_layer, model.experts_used);
}

std::string called(const std::string& name) {
  return name.empty() ? "one without a name" : printable(name);
}

}  // namespace

std::optional<std::string> difference(const ModelIdentity& found, const ModelIdentity& model) {
  if (found.architecture != model.architecture)
    return fmt::format("is for another architecture: {}, but the model is {}",
                       printable(found.architecture), printable(model.architecture));
  if (found.name != model.name)
    return fmt::format("is for another model: {}, but this is {}", called(found.name),
                       called(model.name));
  if (shape(found) != shape(model))
    return fmt::format("is for a model of another shape: {}, but this one has {}", shape(found),
                       shape(model));
  if (found.tensors != model.tensors) return "is for a model of the same name with other tensors";
  if (found.types != model.types && found.formats == model.formats)
    return fmt::format("is for another quantisation: the same shares ({}) of other tensors",
                       printable(found.formats));
  if (found.types != model.types)
    return fmt::format("is for another quantisation: {}, but the model has {}",
                       printable(found.formats), printable(model.formats));
  if (found.metadata != model.metadata)
    return "is for a model of the same name with other metadata: another version or conversion";
  const bool sampled = found.samples != 0 && model.samples != 0;
  if (sampled && found.samples != model.samples)
    return "is for a model of the same name with other weights: another training or quantisation";
  return std::nullopt;
}

}  // namespace hearth::profiler
