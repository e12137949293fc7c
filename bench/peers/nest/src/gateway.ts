import { WebSocketGateway, WebSocketServer, OnGatewayConnection } from '@nestjs/websockets';
import { Server, Socket } from 'socket.io';
import { claimsOf } from './auth';

@WebSocketGateway({ transports: ['websocket'] })
export class NotificationGateway implements OnGatewayConnection {
  @WebSocketServer() server: Server;

  handleConnection(socket: Socket) {
    try {
      void socket.join('user:' + claimsOf(socket.handshake.auth.token).sub);
    } catch {
      socket.disconnect(true);
    }
  }

  notify(user: string, item: object) {
    this.server.to('user:' + user).emit('notification', item);
  }
}
