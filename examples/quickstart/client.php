<?php

/** The least that talks to preforkd: JSON-RPC 2.0, a line each way, on a connection that stays open. */
final class Client
{
    /** @var resource */
    private $stream;

    private int $id = 0;

    /** @param string $address path of the Unix socket, or tcp://HOST:PORT */
    public function __construct(string $address)
    {
        $url = str_contains($address, '://') ? $address : "unix://$address";
        $this->stream = stream_socket_client($url, $code, $message, 5)
            ?: throw new RuntimeException("cannot connect to $address: $message");
        stream_set_timeout($this->stream, 30);
    }

    /** A request and its answer. */
    public function call(string $method, array $params = []): array
    {
        $this->send($method, $params);

        return $this->receive();
    }

    /** A request alone; more may follow before the first answer is read. */
    public function send(string $method, array $params = []): void
    {
        $request = ['jsonrpc' => '2.0', 'id' => ++$this->id, 'method' => $method];
        if ($params !== []) {
            $request['params'] = $params;
        }
        fwrite($this->stream, json_encode($request, JSON_THROW_ON_ERROR) . "\n");
    }

    /** The next answer's result, whichever request it is for. */
    public function receive(): array
    {
        $line = fgets($this->stream);
        if ($line === false) {
            throw new RuntimeException('preforkd has closed the connection, or did not answer within 30 s');
        }
        $answer = json_decode($line, true, 64, JSON_THROW_ON_ERROR);
        if (isset($answer['error'])) {
            throw new RuntimeException("preforkd: {$answer['error']['message']}", $answer['error']['code']);
        }

        return $answer['result'];
    }
}
