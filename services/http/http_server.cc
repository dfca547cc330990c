// SPDX-License-Identifier: Apache-2.0
#include "services/http/http_server.h"

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/http/http_guard.h"

namespace hone {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Tcp = asio::ip::tcp;
using Error = boost::system::error_code;

constexpr size_t kMaxQueuedEvents = 256;
constexpr int kMaxLingers = 64;  // of 4 KiB

constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
};

std::chrono::milliseconds Milliseconds(absl::Duration duration) {
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

absl::string_view View(beast::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

class HttpConnection;

struct HttpServer::Impl {
  Impl(const HttpServerOptions& chosen, HttpHandler chosen_handler)
      : options(chosen),
        handler(std::move(chosen_handler)),
        acceptor(io),
        handlers(static_cast<size_t>(chosen.handler_threads)) {}

  void Accept();

  const HttpServerOptions options;
  const HttpHandler handler;
  std::optional<HttpGuard> guard;  // once the port is known; before anything is accepted
  asio::io_context io{1};          // one thread: what runs on it needs no locks
  Tcp::acceptor acceptor;
  asio::thread_pool handlers;
  std::thread thread;
  std::set<std::shared_ptr<HttpConnection>> connections;  // on the io thread
  std::atomic<size_t> event_streams{0};
  std::atomic<bool> stopping{false};
};

// One socket. Its functions run on the io thread, but for the handler.
class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(HttpServer::Impl& server, Tcp::socket socket)
      : server_(server), stream_(std::move(socket)), ping_(server.io) {}

  void ReadRequest();
  void Close();
  void Linger();
  void Send(const std::string& event) {
    if (!is_event_stream_) return;
    if (events_.size() >= kMaxQueuedEvents) return Close();
    events_.push_back(event);
    if (events_.size() == 1) WriteEvent();
  }

 private:
  using Parser = http::request_parser<http::empty_body>;

  void OnRequest(const Error& error);
  void Handle(HttpRequest request);
  void Respond(HttpResponse response);
  void WritePieces();
  void WritePiece(absl::StatusOr<bool> more, std::string piece);
  void StartEvents();
  void WriteEvent();
  void Ping();
  void WatchForEnd();
  void SetHeaders(const HttpResponse& response, http::fields* fields) const;

  HttpServer::Impl& server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  bool keep_alive_ = false;
  bool is_head_ = false;
  HttpResponse response_;
  std::shared_ptr<void> writing_;  // what async_write reads from
  int lingered_ = 0;
  std::array<char, 4096> rest_;
  // Event streams.
  bool is_event_stream_ = false;
  std::deque<std::string> events_;
  asio::steady_timer ping_;
  char byte_ = 0;
};

void HttpConnection::Close() {
  if (is_event_stream_) {
    is_event_stream_ = false;
    --server_.event_streams;
  }
  ping_.cancel();
  Error ignored;
  stream_.socket().shutdown(Tcp::socket::shutdown_both, ignored);
  stream_.socket().close(ignored);
  server_.connections.erase(shared_from_this());
}

// Ends what is written and waits for the other side to close: bytes of it that nobody read would
// make the kernel throw the answer away.
void HttpConnection::Linger() {
  Error error;
  stream_.socket().shutdown(Tcp::socket::shutdown_send, error);
  if (error || ++lingered_ > kMaxLingers) return Close();
  stream_.expires_after(std::chrono::seconds(1));
  stream_.async_read_some(asio::buffer(rest_),
                          [self = shared_from_this()](const Error& ended, size_t) {
                            ended ? self->Close() : self->Linger();
                          });
}

void HttpConnection::ReadRequest() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(server_.options.max_header_bytes));
  parser_->body_limit(0);
  stream_.expires_after(Milliseconds(server_.options.read_timeout));
  http::async_read(
      stream_, buffer_, *parser_,
      [self = shared_from_this()](const Error& error, size_t) { self->OnRequest(error); });
}

void HttpConnection::OnRequest(const Error& error) {
  stream_.expires_never();
  keep_alive_ = false;
  is_head_ = false;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    HttpResponse refusal = ErrorResponse(absl::InvalidArgumentError(absl::StrCat(
        "a request's line and headers are at most ", server_.options.max_header_bytes, " bytes")));
    refusal.status = 431;
    return Respond(std::move(refusal));
  }
  if (error == http::error::unexpected_body || error == http::error::body_limit) {
    HttpResponse refusal = ErrorResponse(absl::InvalidArgumentError("a request has no body here"));
    refusal.status = 413;
    return Respond(std::move(refusal));
  }
  // What is no HTTP gets no answer.
  if (error) return Close();
  const auto& message = parser_->get();
  keep_alive_ = message.keep_alive();
  is_head_ = message.method() == http::verb::head;
  if (message.method() != http::verb::get && !is_head_) {
    HttpResponse refusal =
        ErrorResponse(absl::InvalidArgumentError("only GET and HEAD: nothing can be changed here"));
    refusal.status = 405;
    refusal.headers.emplace_back("Allow", "GET, HEAD");
    return Respond(std::move(refusal));
  }
  HttpRequest request;
  request.method = is_head_ ? "HEAD" : "GET";
  for (const auto& field : message) {
    request.headers[absl::AsciiStrToLower(View(field.name_string()))] =
        std::string(View(field.value()));
  }
  const absl::Status parsed = ParseTarget(View(message.target()), &request);
  if (!parsed.ok()) return Respond(ErrorResponse(parsed));
  Handle(std::move(request));
}

void HttpConnection::Handle(HttpRequest request) {
  asio::post(server_.handlers, [self = shared_from_this(), request = std::move(request)] {
    std::optional<HttpResponse> refusal = self->server_.guard->Check(request);
    HttpResponse response = refusal ? *std::move(refusal) : self->server_.handler(request);
    asio::post(self->server_.io, [self, response = std::move(response)]() mutable {
      self->Respond(std::move(response));
    });
  });
}

void HttpConnection::SetHeaders(const HttpResponse& response, http::fields* fields) const {
  for (const auto& [name, value] : kHeaders) fields->set(name, value);
  for (const auto& [name, value] : response.headers) fields->insert(name, value);
  fields->set(http::field::content_type, response.content_type);
}

void HttpConnection::Respond(HttpResponse response) {
  response_ = std::move(response);
  if (response_.event_stream && !is_head_) return StartEvents();
  const auto status = static_cast<http::status>(response_.status);
  stream_.expires_after(Milliseconds(server_.options.write_timeout));
  if (response_.next && !is_head_) {
    auto head = std::make_shared<http::response<http::empty_body>>(status, 11);
    SetHeaders(response_, &*head);
    head->keep_alive(keep_alive_);
    head->chunked(true);
    auto serializer = std::make_shared<http::response_serializer<http::empty_body>>(*head);
    writing_ = head;
    http::async_write_header(stream_, *serializer,
                             [self = shared_from_this(), serializer](const Error& error, size_t) {
                               error ? self->Close() : self->WritePieces();
                             });
    return;
  }
  auto message = std::make_shared<http::response<http::string_body>>(status, 11);
  SetHeaders(response_, &*message);
  message->keep_alive(keep_alive_);
  message->body() = std::move(response_.body);
  message->prepare_payload();
  if (is_head_) message->body().clear();
  writing_ = message;
  auto done = [self = shared_from_this()](const Error& error, size_t) {
    if (error) return self->Close();
    if (!self->keep_alive_) return self->Linger();
    self->writing_.reset();
    self->ReadRequest();
  };
  if (!is_head_) return http::async_write(stream_, *message, std::move(done));
  auto serializer = std::make_shared<http::response_serializer<http::string_body>>(*message);
  http::async_write_header(stream_, *serializer,
                           [done = std::move(done), serializer](const Error& error, size_t bytes) {
                             done(error, bytes);
                           });
}

void HttpConnection::WritePieces() {
  asio::post(server_.handlers, [self = shared_from_this()] {
    std::string piece;
    absl::StatusOr<bool> more = self->server_.stopping ? absl::CancelledError("the server stops")
                                                       : self->response_.next(&piece);
    asio::post(self->server_.io,
               [self, more = std::move(more), piece = std::move(piece)]() mutable {
                 self->WritePiece(std::move(more), std::move(piece));
               });
  });
}

void HttpConnection::WritePiece(absl::StatusOr<bool> more, std::string piece) {
  if (!more.ok()) return Close();
  std::string framed;
  if (!piece.empty()) {
    framed = absl::StrCat(absl::Hex(piece.size()), "\r\n", piece, "\r\n");
  }
  if (!*more) framed += "0\r\n\r\n";
  auto bytes = std::make_shared<std::string>(std::move(framed));
  writing_ = bytes;
  stream_.expires_after(Milliseconds(server_.options.write_timeout));
  asio::async_write(stream_, asio::buffer(*bytes),
                    [self = shared_from_this(), last = !*more](const Error& error, size_t) {
                      if (error) return self->Close();
                      if (!last) return self->WritePieces();
                      self->response_ = HttpResponse();
                      if (!self->keep_alive_) return self->Linger();
                      self->ReadRequest();
                    });
}

void HttpConnection::StartEvents() {
  std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n";
  for (const auto& [name, value] : kHeaders) absl::StrAppend(&head, name, ": ", value, "\r\n");
  is_event_stream_ = true;
  ++server_.event_streams;
  stream_.expires_never();
  Send(head + "\r\nretry: 1000\n\n");
  Ping();
  WatchForEnd();
}

void HttpConnection::WriteEvent() {
  asio::async_write(stream_, asio::buffer(events_.front()),
                    [self = shared_from_this()](const Error& error, size_t) {
                      if (error) return self->Close();
                      self->events_.pop_front();
                      if (!self->events_.empty()) self->WriteEvent();
                    });
}

// A line that browsers ignore: it finds out who went away without a word.
void HttpConnection::Ping() {
  ping_.expires_after(Milliseconds(server_.options.ping_every));
  ping_.async_wait([self = shared_from_this()](const Error& error) {
    if (error || !self->is_event_stream_) return;
    self->Send(": ping\n\n");
    self->Ping();
  });
}

// Nothing is to come on an event stream but its end.
void HttpConnection::WatchForEnd() {
  stream_.async_read_some(asio::buffer(&byte_, 1),
                          [self = shared_from_this()](const Error& error, size_t) {
                            error ? self->Close() : self->WatchForEnd();
                          });
}

void HttpServer::Impl::Accept() {
  acceptor.async_accept([this](const Error& error, Tcp::socket socket) {
    if (!acceptor.is_open()) return;
    if (!error && connections.size() < options.max_connections) {
      Error ignored;
      socket.set_option(Tcp::no_delay(true), ignored);
      auto connection = std::make_shared<HttpConnection>(*this, std::move(socket));
      connections.insert(connection);
      connection->ReadRequest();
    }
    Accept();
  });
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpHandler handler) {
  if (!IsLoopback(options.host) && options.token.empty()) {
    return absl::PermissionDeniedError(absl::StrCat("others can reach ", options.host,
                                                    ": a token is needed (", options.flag_prefix,
                                                    "token-file)"));
  }
  Error error;
  const auto address = asio::ip::make_address(options.host, error);
  if (error || options.port < 0 || options.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.host, ":", options.port, " is no address and port to listen on"));
  }
  auto impl = std::make_unique<Impl>(options, std::move(handler));
  const Tcp::endpoint endpoint(address, static_cast<uint16_t>(options.port));
  impl->acceptor.open(endpoint.protocol(), error);
  if (!error) impl->acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) impl->acceptor.bind(endpoint, error);
  if (!error) impl->acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.host, ":", options.port,
                                               ": ", error.message(), ". Name another with ",
                                               options.flag_prefix, "listen."));
  }
  HttpGuardOptions guard;
  guard.token = options.token;
  guard.host = options.host;
  guard.names = options.names;
  guard.port = impl->acceptor.local_endpoint(error).port();
  guard.allow_host_flag = options.flag_prefix + "allow-host";
  impl->guard.emplace(std::move(guard));
  impl->Accept();
  impl->thread = std::thread([raw = impl.get()] { raw->io.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  impl_->stopping = true;
  asio::post(impl_->io, [impl = impl_.get()] {
    Error ignored;
    impl->acceptor.close(ignored);
    const auto open = impl->connections;
    for (const auto& connection : open) connection->Close();
  });
  impl_->handlers.join();
  impl_->io.stop();
  impl_->thread.join();
  impl_->connections.clear();
}

int HttpServer::port() const {
  Error ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

std::string HttpServer::Address(const std::string& path, bool with_token) const {
  const HttpServerOptions& options = impl_->options;
  const bool six = absl::StrContains(options.host, ":");
  const bool token = with_token && !options.token.empty();
  return absl::StrCat("http://", six ? "[" : "", options.host, six ? "]" : "", ":", port(), "/",
                      path, token ? "?token=" : "", token ? options.token : "");
}

void HttpServer::Broadcast(const std::string& event, const std::string& data) {
  asio::post(impl_->io,
             [impl = impl_.get(), text = absl::StrCat("event: ", event, "\ndata: ", data, "\n\n")] {
               const auto open = impl->connections;  // Send may close one
               for (const auto& connection : open) connection->Send(text);
             });
}

size_t HttpServer::event_streams() const {
  return impl_->event_streams;
}

}  // namespace hone
