// Streams of CUDA and of HIP, and what they capture.
#include "kernels/gpu/vendor/objects.h"

namespace hearth::kernels::HEARTH_GPU_TARGET {

VendorStream::VendorStream(VendorDevice& device, StreamPriority priority) : device_(device) {
  int least = 0, greatest = 0;
  require(GPU(DeviceGetStreamPriorityRange)(&least, &greatest), "asking for priorities");
  require(GPU(StreamCreateWithPriority)(&stream_, GPU(StreamNonBlocking),
                                        priority == StreamPriority::kHigh ? greatest : least),
          "creating a stream");
  device_.opened(stream_);
}

VendorStream::~VendorStream() {
  device_.closed(stream_);
  if (!device_.watchdog().abandoned()) ignore(GPU(StreamDestroy)(stream_));
}

void VendorStream::launched() {
  behind_kernel_ = true;
  counted(1);  // which may enqueue a mark of the watchdog's
}

// What drivers promise is order behind a kernel of the same stream. Not where an event is between
// the two, although they would: what another stream launches then is to find room on the device
// before the kernel that needs not hurry.
bool VendorStream::begins_early() const {
  return behind_kernel_ && device_.properties().begins_early;
}

void VendorStream::counted(std::uint64_t nodes) {
  if (device_.count().launched(nodes)) device_.watchdog().enqueued(*this, operations_);
}

GPU(Stream_t) VendorStream::here() const {
  device_.turn_to();
  return stream_;
}

GPU(Stream_t) VendorStream::behind_all() {
  behind_kernel_ = false;
  return here();
}

bool VendorStream::is_captured() const {
  GPU(StreamCaptureStatus) status{};
  require(GPU(StreamIsCapturing)(stream_, &status), "asking whether a stream is captured");
  return status != GPU(StreamCaptureStatusNone);
}

void VendorStream::copy(void* to, const void* from, Bytes bytes) {
  counted(1);
  const GPU(Stream_t) stream = behind_all();
  auto* target = static_cast<std::byte*>(to);
  const auto* source = static_cast<const std::byte*>(from);
  for (std::size_t left = bytes.count, piece = 0; left > 0; left -= piece) {
    piece = device_.pinned().together(source, device_.pinned().together(target, left));
    require(GPU(MemcpyAsync)(target, source, piece, GPU(MemcpyDefault), stream), "a copy");
    target += piece;
    source += piece;
  }
}

void VendorStream::fill(void* to, std::uint8_t byte, Bytes bytes) {
  counted(1);
  require(GPU(MemsetAsync)(to, byte, bytes.count, behind_all()), "filling memory");
}

void VendorStream::mark(Event& event) {
  const GPU(Event_t) moment = static_cast<VendorEvent&>(event).native();
  const GPU(Stream_t) stream = behind_all();
  require(is_captured() ? record_in_graph(moment, stream) : GPU(EventRecord)(moment, stream),
          "marking a moment");
}

void VendorStream::synchronize() {
  device_.count().waited();
  device_.watchdog().wait([stream = here()] { return is_done(GPU(StreamQuery)(stream)); });
}

void VendorStream::write_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::write>(flag, value);
  if (!stream_memory_operations().write_value(behind_all(), flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to write a value; run without the GPU",
                kApi);
}

void VendorStream::wait_value(SharedFlag flag, std::uint32_t value) {
  if (!device_.properties().stream_memory_operations) return call_for<FlagCall::wait>(flag, value);
  if (!stream_memory_operations().wait_value(behind_all(), flag.address, value))
    throw_error(ErrorCode::kDevice, "{}: a stream refused to wait for a value; run without the GPU",
                kApi);
}

// What is captured is called by each launch, and stays as long as the device does.
template <void (*function)(void*)>
void VendorStream::call_for(SharedFlag flag, std::uint32_t value) {
  auto call = std::make_unique<FlagCall>(flag.address, value);
  if (is_captured()) return call_host(function, device_.keep(std::move(call)));
  call_host(FlagCall::once<function>, call.get());
  call.release();
}

void VendorStream::begin_capture() {
  device_.count().begin_capture();
  used_before_capture_ = device_.used();
  require(GPU(StreamBeginCapture)(behind_all(), GPU(StreamCaptureModeThreadLocal)),
          "beginning a graph");
}

// Kernels that were captured may have been loaded for it.
std::unique_ptr<Graph> VendorStream::end_capture() {
  device_.count().end_capture();
  GPU(Graph_t) native = nullptr;
  require(GPU(StreamEndCapture)(behind_all(), &native), "capturing a graph");
  auto graph = std::make_unique<VendorGraph>(native, device_.watchdog());
  if (!graph->try_build(stream_)) graph.reset();
  device_.meter().changed(used_before_capture_, device_.used());
  return graph;
}

// Null where there is no graph of it.
GPU(Graph_t) VendorStream::try_end_capture() noexcept {
  device_.count().end_capture();
  behind_kernel_ = false;
  GPU(Graph_t) graph = nullptr;
  ignore(GPU(StreamEndCapture)(stream_, &graph));
  return graph;
}

void VendorStream::drop_capture() noexcept {
  GPU(Graph_t) const graph = try_end_capture();
  if (graph != nullptr) ignore(GPU(GraphDestroy)(graph));
}

void VendorStream::launch(const Graph& graph) {
  counted(graph.node_count());
  const auto& launchable = static_cast<const VendorGraph&>(graph);
  const bool first = launchable.first_launch();
  const Bytes before = first ? device_.used() : Bytes(0);
  require(GPU(GraphLaunch)(launchable.native(), behind_all()), "launching a graph");
  if (first) device_.meter().changed(before, device_.used());
}

}  // namespace hearth::kernels::HEARTH_GPU_TARGET
